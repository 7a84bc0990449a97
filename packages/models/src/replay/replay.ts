// Replays a recorded case on a target: loads its folder, runs it, compares.
import {
  type AnyModule,
  ConfigError,
  compile,
  createRunner,
  type InputType,
  type Ort,
  type Runner,
  type Target,
  type Tensor,
  tensor,
} from '@onnxformers/core';
import { families as known } from '../families/index';
import { type Family, familyOf, unknownFamily } from '../family';
import { readConfig } from '../from-pretrained';
import { causalRunner } from '../generation/causal';
import { likeliest } from '../generation/choose';
import { generateTokens, type Rows, type Start } from '../generation/generate';
import { withMemory } from '../generation/with-memory';
import { filesIn, fromPretrained } from '../node';
import type { Pretrained } from '../pretrained';
import { floatsOf } from '../rows';
import { allowed, type Case, type Precision, type Run } from './case';
import { difference, ofQueries } from './compare';

/** Where a case runs. */
export interface Place {
  readonly target: Target;
  readonly ort: Ort;
  readonly precision: Precision;
}

/** What a case came to: `missing` if there is no such family yet. */
export interface Outcome {
  readonly case: string;
  readonly result: 'passed' | 'failed' | 'missing';
  /** Compared outputs with the largest difference, and what is allowed. */
  readonly checks: readonly Check[];
  readonly reason?: string;
}

/** One output. */
export interface Check {
  readonly run: string;
  readonly output: string;
  readonly largest: number;
  readonly allowed: number;
  readonly problem?: string;
}

/** Replays all runs of a case. */
export async function replay(c: Case, at: Place, families: readonly Family[] = known): Promise<Outcome> {
  const checks: Check[] = [];
  try {
    familyOf(await configOf(c.folder), families);
    const model = await fromPretrained(c.folder);
    if (c.legacy) await checkLegacy(c, model);
    for (const run of c.runs) checks.push(...(await replayRun(c, run, model, at)));
  } catch (error) {
    if (isUnknown(error)) return { case: c.name, result: 'missing', checks, reason: `no family ${error.got}` };
    return { case: c.name, result: 'failed', checks, reason: error instanceof Error ? error.message : String(error) };
  }
  const wrong = checks.filter((check) => !(check.largest <= check.allowed));
  const [first] = wrong;
  if (!first)
    return {
      case: c.name,
      result: checks.length ? 'passed' : 'failed',
      checks,
      ...(!checks.length && { reason: 'nothing was compared' }),
    };
  const text = first.problem ?? `off by ${first.largest.toExponential(1)}, allowed ${first.allowed.toExponential(1)}`;
  return {
    case: c.name,
    result: 'failed',
    checks,
    reason: `${first.run}/${first.output}: ${text} (${wrong.length} of ${checks.length})`,
  };
}

const configOf = (folder: string) => readConfig(filesIn(folder), 'config.json');

const isUnknown = (error: unknown): error is ConfigError => error instanceof ConfigError && error.problem === unknownFamily;

async function checkLegacy(c: Case, model: Pretrained): Promise<void> {
  const old = await fromPretrained(c.folder, { configFile: 'config.legacy.json' });
  const [a, b] = [JSON.stringify(old.config), JSON.stringify(model.config)];
  if (a === b) return;
  throw new ConfigError({ path: `${c.name}/config.legacy.json`, problem: 'it means another model', expected: b, got: a });
}

/** [batch, mel, frames] as [batch, frames, mel]. */
function framesFirst({ data, dims: [batch, mel, frames], dtype }: Tensor): Tensor {
  const one = (i: number) =>
    data[(Math.floor(i / (frames! * mel!)) * mel! + (i % mel!)) * frames! + (Math.floor(i / mel!) % frames!)];
  return tensor(
    dtype,
    [batch!, frames!, mel!],
    Array.from({ length: data.length }, (_, i) => Number(one(i))),
  );
}

/** Our names of arguments. */
const inputNames: Readonly<Record<string, string>> = {
  input_ids: 'ids',
  attention_mask: 'attention_mask',
  token_type_ids: 'token_type_ids',
  position_ids: 'position_ids',
  pixel_values: 'pixels',
  decoder_input_ids: 'decoder_ids',
  input_features: 'features',
  input_values: 'features',
};

/** Our layouts of arguments. */
const layouts: Readonly<Record<string, (t: Tensor) => Tensor>> = {
  input_features: framesFirst,
  // [batch, samples] as [batch, samples, 1].
  input_values: (t) => ({ ...t, dims: [...t.dims, 1] }),
};

const feedsOf = (run: Run): Readonly<Record<string, Tensor>> =>
  Object.fromEntries([...run.in].map(([name, t]) => [inputNames[name] ?? name, layouts[name]?.(t) ?? t] as const));

async function replayRun(c: Case, run: Run, model: Pretrained, at: Place): Promise<Check[]> {
  if (run.out.has('sequences')) return replayGeneration(c, run, model, at);
  const taps = new Map(
    [...run.out.keys()].map((name) => [name, tapOf(name, model.module, !run.in.has('pixel_values'))] as const),
  );
  const feeds = feedsOf(run);
  const compiled = compile(model.module, {
    target: at.target,
    dtype: at.precision,
    inputs: inputsOf(feeds),
    weights: model.weights,
    taps: [...new Set([...taps.values()].filter((path) => path !== undefined))],
  });
  const runner = await createRunner(compiled, at.ort);
  try {
    const outputs = (await runner(feeds)) as Readonly<Record<string, Tensor>>;
    const mask = run.in.get('attention_mask');
    return [...run.out].map(([name, wanted]) => {
      const got = outputs[taps.get(name) ?? name];
      const most = allowed(c, name, at.precision);
      if (!got)
        return { run: run.name, output: name, largest: Number.POSITIVE_INFINITY, allowed: most, problem: 'no such output' };
      const weights = name.startsWith('attentions.');
      if (name.startsWith('reshaped_'))
        return { run: run.name, output: name, allowed: most, ...difference(got, cellsInRows(wanted), undefined) };
      const off = weights ? difference(ofQueries(got, mask), ofQueries(wanted, mask), undefined) : difference(got, wanted, mask);
      return { run: run.name, output: name, allowed: most, ...off };
    });
  } finally {
    await runner.dispose();
  }
}

/** Inputs of a padded batch, at the sizes of the feeds but with names for what varies. */
function inputsOf(feeds: Readonly<Record<string, Tensor>>): Readonly<Record<string, InputType>> {
  const names = (input: string) => ['batch', input.startsWith('decoder_') ? 'decoder_seq' : 'seq'];
  return Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, dims }]) => [
      name,
      [dtype, name === 'pixels' ? ['batch', ...dims.slice(1)] : dims.map((d, i) => names(name)[i] ?? d)] as const,
    ]),
  );
}

/** The path of a hidden state or of attention weights in our modules, where the last one of texts has the final norm; undefined for an output of the model itself. */
function tapOf(output: string, module: AnyModule, lastIsNormed: boolean): string | undefined {
  const [, side, rest] = /^(encoder|decoder|text|vision)_(.+)$/.exec(output) ?? [];
  const half = side && module.children[side];
  if (half) {
    const inner =
      tapOf(rest!, half as AnyModule, lastIsNormed) ?? (rest === 'pooler_output' ? pooledIn(half as AnyModule) : undefined);
    return inner && `${side}.${inner}`;
  }
  if (module.children.decoder) return output === 'last_hidden_state' ? 'decoder.stack' : undefined;
  const { children } = module;
  if (!children.stack) return undefined;
  const calls = layerCalls(module);
  const [, name, index] = /^(?:reshaped_)?(hidden_states|attentions)\.(\d+)$/.exec(output) ?? [];
  if (output === 'last_hidden_state') return 'stack';
  // Of a classifier it is what the head reads.
  if (output === 'pooler_output') return module.blockName === 'classifier' ? pooledIn(module) : undefined;
  if (name === 'attentions') return `${calls[Number(index)]}.mixer.attention.weights`;
  if (name !== 'hidden_states') return undefined;
  if (Number(index) > 0) return Number(index) === calls.length && lastIsNormed ? 'stack' : calls[Number(index) - 1];
  return ['embedding_projection', 'embeddingNorm', 'position', 'embedding'].find((key) => children[key]);
}

/** An image [batch, channels, rows, columns] as [batch, cells, channels]. */
function cellsInRows(image: Tensor): Tensor {
  const [batch, channels, rows, columns] = image.dims as [number, number, number, number];
  const cells = rows * columns;
  const numbers = floatsOf(image);
  const data = numbers.map((_, i) => {
    const [b, cell, c] = [Math.floor(i / (cells * channels)), Math.floor(i / channels) % cells, i % channels];
    return numbers[(b * channels + c) * cells + cell]!;
  });
  return { dtype: 'float32', dims: [batch, cells, channels], data };
}

/** The last step of the pooling of sequences. */
const pooledIn = ({ children }: AnyModule): string => (children.activation ? 'activation' : 'pool');

const stackIn = (module: AnyModule): AnyModule => module.children.stack as AnyModule;
/** The scopes of all calls of layers, in their order; a layer that runs again is numbered. Of a hierarchical model those that end its stages. */
function layerCalls(module: AnyModule): readonly string[] {
  const { repeats = 1, groupSize = 1 } = stackIn(module).about.config as { repeats?: number; groupSize?: number };
  const layers = (stackIn(module).children.layers ?? []) as readonly AnyModule[];
  const depth = layers.length;
  const merges = layers.flatMap(({ blockName }, i) => (blockName === 'merge_patches' ? [i] : []));
  if (merges.length) return [...merges, depth - 1].map((layer) => `stack.layers.${layer}`);
  return Array.from({ length: depth * repeats }, (_, step) => {
    const layer = Math.floor(step / (groupSize * repeats)) * groupSize + (step % groupSize);
    const time = Math.floor((step % (groupSize * repeats)) / groupSize) + 1;
    return `stack.layers.${layer}${time > 1 ? `@${time}` : ''}`;
  });
}

const rowsOf = ({ data, dims: [batch, seq] }: Tensor): Rows =>
  Array.from({ length: batch! }, (_, b) => Array.from({ length: seq! }, (_, i) => Number(data[b * seq! + i])));

/** Greedily as many tokens as were recorded, with the logits of each step. */
async function replayGeneration(c: Case, run: Run, model: Pretrained, at: Place): Promise<Check[]> {
  const wanted = run.out.get('sequences')!;
  const place = { ort: at.ort, target: at.target, dtype: at.precision };
  const logits: (readonly Float32Array[])[] = [];
  const greedily = async (runner: Runner, start: Start): Promise<Check[]> => {
    const steps = wanted.dims[1]! - start.ids[0]!.length;
    const made = await generateTokens(runner, start, { steps, choose: likeliest, onStep: (rows) => logits.push(rows) });
    const sequences = start.ids.map((row, b) => [...row, ...made[b]!]);
    return compareGeneration(c, run, { sequences, logits }, at.precision);
  };
  if (model.module.children.decoder) {
    const feeds = feedsOf(run);
    const parts = await withMemory(model, place, inputsOf(feeds));
    try {
      return await greedily(
        parts.decoder,
        await parts.start(
          feeds,
          rowsOf(wanted).map((row) => row.slice(0, 1)),
        ),
      );
    } finally {
      await parts.dispose();
    }
  }
  const runner = await causalRunner(model, place);
  try {
    const mask = run.in.get('attention_mask');
    return await greedily(runner, { ids: rowsOf(run.in.get('input_ids')!), ...(mask && { mask: rowsOf(mask) }) });
  } finally {
    await runner.dispose();
  }
}

/** Logits of the recorded steps, and all tokens; where two logits are closer than twice the tolerance, either token is right and ends the comparison. */
function compareGeneration(
  c: Case,
  run: Run,
  made: { readonly sequences: readonly (readonly number[])[]; readonly logits: readonly (readonly Float32Array[])[] },
  precision: Precision,
): Check[] {
  const most = allowed(c, 'logits', precision);
  const steps = run.out.get('step_logits')!;
  const [count, batch, vocab] = steps.dims as [number, number, number];
  const data = Float32Array.from(made.logits.slice(0, count).flatMap((rows) => rows.flatMap((row) => Array.from(row))));
  const logits = difference({ dtype: 'float32', dims: [count, batch, vocab], data }, steps, undefined);
  const sequences = run.out.get('sequences')!;
  const margins = run.out.get('margins')!;
  const length = sequences.dims[1]!;
  const first = length - margins.dims[1]!;
  const wrong = made.sequences.flatMap((row, b) => {
    for (let step = 0; step < length - first; step++) {
      const id = Number(sequences.data[b * length + first + step]);
      if (row[first + step] === id) continue;
      const close = Number(margins.data[b * (length - first) + step]) <= 2 * most;
      return close ? [] : [`token ${step} of sequence ${b} is ${row[first + step]} instead of ${id}`];
    }
    return [];
  });
  return [
    { run: run.name, output: 'step_logits', allowed: most, ...logits },
    { run: run.name, output: 'sequences', largest: wrong.length, allowed: 0, ...(wrong[0] && { problem: wrong[0] }) },
  ];
}
