// Time per token of a decoder with GroupQueryAttention: its rotary embedding inside the kernel or outside, stepped from JavaScript or in one Loop.
import { defineReasons } from '../../packages/core/src/lower/reason';
import type { Kernel } from '../../packages/core/src/lower/target';
import {
  and,
  causal,
  compile,
  createRunner,
  embedding,
  generate,
  glu,
  initialize,
  linear,
  module,
  multiHead,
  type Ort,
  ops,
  type RunnerOptions,
  rmsNorm,
  rotary,
  type SequenceContext,
  type Target,
  type Tensor,
  tensor,
  toArray,
  type Value,
} from '../../packages/onnxformers/src/index';
import { check, kernelsOf, logged, median, result, section, table } from './report';

const small = process.env.DEVICE === 'cpu';
const [vocab, dim, headDim, depth] = small ? [97, 128, 64, 2] : [997, 1024, 64, 16];
const [prompt, steps] = small ? [9, 8] : [128, 64];
const capacity = 256;
const machine = { runtime: '1.30.0', sm: 90 };
const gqa = 'com.microsoft.GroupQueryAttention';
const own = defineReasons({ leftOut: () => 'it is left out to compare' });

/** The target itself, and without the rotary embedding inside its kernel. */
function without(target: Target): Target {
  const kernel = target.kernels[gqa]!;
  const accepts: NonNullable<Kernel['accepts']> = (node, on) =>
    node.attrs.do_rotary ? own.leftOut() : (kernel.accepts?.(node, on) ?? true);
  return { ...target, kernels: { ...target.kernels, [gqa]: { ...kernel, accepts } } };
}

function decoder() {
  const embed = embedding(vocab, dim, { init: { kind: 'normal', std: 1 } });
  const layers = Array.from({ length: depth }, () => {
    const mixer = multiHead({
      dim,
      heads: dim / headDim,
      kvHeads: dim / headDim / 2,
      headDim,
      bias: false,
      rotaryEmbedding: rotary({ dim: headDim }),
    });
    const children = {
      norm1: rmsNorm({ dim }),
      mixer,
      norm2: rmsNorm({ dim }),
      feedforward: glu({ dim, hidden: 2 * dim, bias: false }),
    };
    return module(children, (x: Value, ctx: SequenceContext) => {
      const h = ops.add(x, mixer(children.norm1(x), ctx));
      return ops.add(h, children.feedforward(children.norm2(h), ctx));
    });
  });
  const children = { embed, layers, norm: rmsNorm({ dim }), head: linear(dim, vocab, { init: { kind: 'normal', std: 0.3 } }) };
  const logits = (ids: Value, ctx: SequenceContext): Value => {
    const seen = { ...ctx, mask: and(ctx.mask, causal) };
    return children.head(children.norm(layers.reduce((x, layer) => layer(x, seen), embed(ids))));
  };
  return { children, logits };
}

const first = Array.from({ length: prompt }, (_, i) => (7 * i * i + 3 * i) % vocab);
const batchOf = (row: readonly number[]): Tensor => tensor('int64', [1, row.length], row);

const inputs = { ids: ['int64', ['batch', 'seq']] } as const;

/** Runs every path, each in a section; then compares each path's tokens with the greedy tokens of the same model in float32. */
export async function runDecode({ ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions }): Promise<void> {
  const { children, logits } = decoder();
  const stepped = module(children, (given: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({
    logits: logits(given.ids!, ctx),
  }));
  const chosen: (readonly [path: string, tokens: readonly number[]])[] = [];
  const looped = module(children, (given: Readonly<Record<string, Value>>) => ({
    tokens: generate(given.ids!.graph.root, { prompt: given.ids!, steps, capacity, step: logits }),
  }));
  const weights = initialize(stepped, { seed: 29 });
  const once = process.env.ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO === '1';
  for (const [how, on] of [
    ['inside', target],
    ['outside', without(target)],
  ] as const)
    for (const [path, m] of [
      ['Loop', looped],
      ['stepped', stepped],
    ] as const) {
      section(`${path}, rotation ${how}`);
      const state = path === 'stepped' ? { state: { io: capacity } } : {};
      const model = compile(m, {
        target: on,
        machine,
        dtype: small ? 'float32' : 'float16',
        inputs,
        weights,
        assumptions: ['prefill into empty cache'],
        ...state,
      });
      const times: number[] = [];
      const run = await createRunner(model, ort, options);
      let tokens: number[] = [];
      for (let i = 0; i < (once ? 1 : 4); i++) {
        const start = performance.now();
        tokens =
          path === 'Loop'
            ? Array.from((await run({ ids: batchOf(first) })).tokens!.data as BigInt64Array, Number)
            : await step(run);
        times.push((performance.now() - start) / steps);
      }
      await run.dispose();
      chosen.push([`${path}, rotation ${how}`, tokens]);
      result({ tokens, milliseconds: median(times.slice(1)) ?? 0 });
    }
  const whole = await createRunner(compile(stepped, { target, machine, inputs, weights }), ort, options);
  for (const [path, tokens] of chosen) {
    section(`${path}: tokens`);
    result({ regret: await regret(whole, tokens) });
  }
  await whole.dispose();
}

/**
 * The difference between the largest float32 logit and that of a path's token, given the tokens before it: 0 for greedy decoding without errors, small if
 * two tokens have nearly equal logits, tens for wrong tokens.
 */
async function regret(run: Awaited<ReturnType<typeof createRunner>>, tokens: readonly number[]): Promise<number> {
  const { data } = toArray((await run({ ids: batchOf([...first, ...tokens.slice(0, -1)]) })).logits!);
  const below = tokens.map((token, i) => {
    const row = data.subarray((prompt - 1 + i) * vocab, (prompt + i) * vocab);
    return row.reduce((a, b) => Math.max(a, b)) - row[token]!;
  });
  return Math.max(...below);
}

async function step(run: Awaited<ReturnType<typeof createRunner>>): Promise<number[]> {
  const made: number[] = [];
  let kept: Record<string, Tensor> = {};
  for (
    let next: readonly number[] = first, pastLengths = 0;
    made.length < steps;
    pastLengths += next.length, next = made.slice(-1)
  ) {
    const { logits, ...present } = await run({ ids: batchOf(next), past_lengths: tensor('int64', [1], [pastLengths]), ...kept });
    kept = Object.fromEntries(Object.entries(present).map(([name, t]) => [name.replace('present.', 'past_key_values.'), t]));
    const { data, dims } = toArray(logits!);
    const row = data.subarray((dims[1]! - 1) * vocab);
    made.push(row.indexOf(row.reduce((a, b) => Math.max(a, b))));
  }
  return made;
}

/** Float32 logits are of the order of ten here, and their best a few above the next. */
const tie = 0.25;

/** Compares the paths. */
export function decode(folder: string): void {
  const kernels = logged('run-decode', folder);
  const timed = logged('run-decode', folder, { ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '0' });
  const [paths, judged] = [timed.slice(0, 4), timed.slice(4)];
  const results = paths.map((s) => s.result as { tokens: number[]; milliseconds: number });
  const regrets = judged.map((s) => (s.result as { regret: number }).regret);
  const { tokens } = results[0]!;
  const parted = results.map((r) => r.tokens.findIndex((token, i) => token !== tokens[i]));
  table([
    ['path', 'milliseconds a token', 'attention kernels', 'same tokens as the first', 'below the best in float32'],
    ...paths.map((s, i) => [
      s.name,
      results[i]!.milliseconds.toFixed(3),
      kernelsOf(kernels[i]!),
      `${parted[i]! < 0 ? tokens.length : parted[i]}`,
      regrets[i]!.toFixed(4),
    ]),
  ]);
  const [loopIn, stepIn, loopOut, stepOut] = results.map((r) => r.milliseconds) as [number, number, number, number];
  process.stdout.write(
    `rotation outside / inside: Loop ${(loopOut / loopIn).toFixed(3)}, stepped ${(stepOut / stepIn).toFixed(3)}\n`,
  );
  check(
    'every token of every path is the best, or ties with it',
    results.every((r) => r.tokens.length === steps) && regrets.length === 4 && regrets.every((r) => r <= tie),
    tokens.slice(0, 12).join(' '),
  );
}
