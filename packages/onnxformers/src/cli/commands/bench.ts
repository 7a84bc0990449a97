// onnxformers bench attention|block …
import { cpus } from 'node:os';
import {
  attentionKernel,
  type CompileOptions,
  type Machine,
  type Model,
  type ModelDType,
  type Ort,
  type Target,
  targets,
} from '@onnxformers/core';
import { type AttentionSizes, attentionFlops, benchAttention } from '../../bench/attention';
import { benchBlock } from '../../bench/block';
import type { Measured, SlopeOptions } from '../../bench/slope';
import { command, UsageError, type Values } from '../command';
import { machineOf, targetOf, targetOptions } from '../compile-options';
import { readConfig } from '../config-file';
import { columns, type Output } from '../output';
import { type Gpu, gpus, importRuntime, runtimeFor } from '../runtimes';
import { ownVersion, runtimeVersion } from '../versions';

const options = {
  ...targetOptions,
  batch: { type: 'integer', doc: 'sequences', default: 1 },
  seq: { type: 'integer', doc: 'positions of each', default: 512 },
  heads: { type: 'integer', doc: 'attention: heads of the queries', default: 8 },
  'kv-heads': { type: 'integer', doc: 'attention: heads of keys and values; as many as heads when left out' },
  'head-dim': { type: 'integer', doc: 'attention: channels of a head', default: 64 },
  causal: { type: 'flag', doc: 'attention: nothing later is seen' },
  window: { type: 'integer', doc: 'attention: positions that a query sees, itself included' },
  vs: { type: 'text', doc: 'measure beside it: the same in primitive ops', choices: ['decomposed'] },
  few: { type: 'integer', doc: 'copies in the short graph', default: 2 },
  more: { type: 'integer', doc: 'how many more are in the long one', default: 16 },
  repetitions: { type: 'integer', doc: 'how often both are run', default: 15 },
} as const;
type Given = Values<typeof options>;

/** One row of the result. */
interface Row {
  readonly name: string;
  /** Milliseconds. */
  readonly median: number;
  readonly spread: number;
  readonly tflops?: number;
  readonly kernels: readonly string[];
}

export const bench = command({
  name: 'bench',
  words: ['attention|block', '[CONFIG]'],
  summary: 'Measures one attention, or the block of a config, on a target.',
  help: [
    'onnxformers bench attention --target cuda --dtype float16 --heads 16 --head-dim 128 --seq 8192 --causal --vs decomposed',
    'onnxformers bench block layer.json --seq 1024',
    '',
    'Data is made inside the graph. The time of one copy is the slope between a graph of few copies in a chain and one of more, so that starting a',
    'run, copying to and from JavaScript and launching are not counted.',
  ].join('\n'),
  options,
  async run([what, path], values, output) {
    if (what !== 'attention' && what !== 'block') throw new UsageError(`bench measures attention or block, not "${what}"`);
    if ((what === 'block') !== (path !== undefined))
      throw new UsageError(
        what === 'block' ? 'bench block needs CONFIG' : `bench attention takes no "${path}"; its options say what is measured`,
      );
    const target = targetOf(values.target);
    const ort = await importRuntime(runtimeFor(target.providers));
    const cards = target.name === 'cuda' ? await gpus() : [];
    const machine = { ...(cards[0] && { sm: cards[0].sm }), ...machineOf(values) };
    const measure = what === 'attention' ? attentionMeasure(values) : await blockMeasure(path!, values);
    const rows: Row[] = [];
    for (const [name, t] of [
      [target.name, target] as const,
      ...(values.vs ? [[`${target.name}, decomposed`, decomposed(target)] as const] : []),
    ]) {
      output.progress(`measuring ${name} …`);
      rows.push(rowOf(name, await measure({ target: t, machine, dtype: values.dtype as ModelDType }, ort), machine));
    }
    print(output, rows, { what, ...measure.about, dtype: values.dtype, ...environment(ort, cards) });
  },
});

type Figure = Measured & { readonly tflops?: number };
interface Measure {
  (o: Omit<CompileOptions, 'inputs' | 'weights'>, ort: Ort): Promise<Figure>;
  readonly about: Readonly<Record<string, unknown>>;
}

const slopeOptions = ({ few, more, repetitions }: Given): SlopeOptions => {
  if (few < 1 || more < 1 || repetitions < 1) throw new UsageError('--few, --more and --repetitions are at least 1');
  return { few, more, repetitions };
};

function attentionMeasure(v: Given): Measure {
  const sizes: AttentionSizes = {
    batch: v.batch,
    heads: v.heads,
    kvHeads: v['kv-heads'] ?? v.heads,
    headDim: v['head-dim'],
    seq: v.seq,
    causal: v.causal,
    ...(v.window !== undefined && { window: v.window }),
  };
  const zero = Object.entries(sizes).find(([, n]) => n === 0);
  if (zero) throw new UsageError(`${zero[0]} is 0; nothing would be measured`);
  const o = slopeOptions(v);
  return Object.assign((c: Omit<CompileOptions, 'inputs'>, ort: Ort) => benchAttention(sizes, c, ort, o), {
    about: { ...sizes, flops: attentionFlops(sizes) },
  });
}

async function blockMeasure(path: string, v: Given): Promise<Measure> {
  const { module, kind } = await readConfig(path);
  const sizes = { batch: v.batch, seq: v.seq };
  const o = slopeOptions(v);
  return Object.assign((c: Omit<CompileOptions, 'inputs'>, ort: Ort) => benchBlock(module, sizes, c, ort, o), {
    about: { ...sizes, kind, block: module.blockName },
  });
}

/** The same providers with nothing but primitive ops. */
function decomposed(target: Target): Target {
  const { kernels, opset } = targets.portable();
  return {
    ...target,
    name: `${target.name}, decomposed`,
    opset,
    kernels: Object.fromEntries(Object.entries(kernels).filter(([key]) => target.kernels[key])),
  };
}

const isLost = ({ median, spread }: Row): boolean => !(spread <= median / 2);

function rowOf(name: string, { median, spread, tflops, model }: Figure, machine: Machine): Row {
  return { name, median, spread, ...(tflops !== undefined && { tflops }), kernels: kernelsOf(model, machine) };
}

/** The ops that were measured, most frequent first; on CUDA with the kernel that the runtime runs for an attention. */
function kernelsOf({ graph, target }: Model, machine: Machine): string[] {
  const counts = new Map<string, number>();
  for (const node of graph.nodes) {
    if (!node.scope) continue; // data, not what is measured
    const kernel = target.name === 'cuda' ? attentionKernel(node, machine)?.kernel : undefined;
    const name = `${node.op.key.split('.').at(-1)}${kernel ? ` (${kernel})` : ''}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([key]) => key);
}

function environment(ort: Ort, cards: readonly Gpu[]) {
  return {
    onnxformers: ownVersion(),
    onnxruntime: runtimeVersion(ort),
    node: process.versions.node,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    ...(cards.length && { gpu: cards[0]!.name, driver: cards[0]!.driver }),
    date: new Date().toISOString().slice(0, 10),
  };
}

function print(output: Output, rows: readonly Row[], about: Readonly<Record<string, unknown>>): void {
  const most = 4;
  // A slope that is lost in noise says nothing, however many digits it has.
  const lost = rows.filter(isLost);
  const ratio = rows.length === 2 && lost.length === 0 ? rows[1]!.median / rows[0]!.median : undefined;
  const shown = (kernels: readonly string[]) =>
    [...kernels.slice(0, most), ...(kernels.length > most ? [`${kernels.length - most} more`] : [])].join(', ');
  for (const r of lost)
    output.note(
      `${r.name}: lost in noise, the spread is more than half of the time; measure larger sizes, or more copies (--more) more often (--repetitions)`,
    );
  output.result(
    () =>
      [
        Object.entries(about)
          .map(([key, value]) => `${key} ${String(value)}`)
          .join(' · '),
        columns([
          ['', 'median ms', 'spread ms', 'TFLOP/s', 'kernels'],
          ...rows.map((r) => [
            r.name,
            r.median.toPrecision(4),
            r.spread.toPrecision(2),
            isLost(r) ? 'noise' : (r.tflops?.toPrecision(3) ?? ''),
            shown(r.kernels),
          ]),
        ]),
        ...(ratio === undefined ? [] : [`decomposed takes ${ratio.toFixed(2)} times as long`]),
        ...(rows.length === 2 && lost.length ? ['which of them takes longer is lost in noise'] : []),
      ].join('\n'),
    { ...about, rows: rows.map((r) => ({ ...r, lostInNoise: isLost(r) })), ...(ratio !== undefined && { ratio }) },
  );
}
