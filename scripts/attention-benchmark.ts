/**
 * Measures the alternatives by which a target can compute attention, for several numbers of queries, keys and heads. The costs in
 * `packages/core/src/targets/attention-cost.ts` are derived from it.
 *
 *     node --conditions=@onnxformers/source --import tsx scripts/attention-benchmark.ts [cpu|wasm] [--windows] [--rounds 9] [--only TEXT]
 *
 * With --windows it measures where blocks overtake the others, by window and by length of the sequence.
 * Each line is one attention. The alternatives run in turn in every round. A cell is the median processor time in ms, which
 * other work on the machine hardly changes, and in brackets the median ratio to the definition in the same round.
 */
import { parseArgs } from 'node:util';
import { attentionRules } from '../packages/attention/src/index';
import {
  causal,
  compile,
  createRunner,
  type Mask,
  mergeHeads,
  module,
  none,
  type Ort,
  padded,
  type Runner,
  slidingWindow,
  splitHeads,
  type Target,
  targets,
  tensor,
  type Value,
} from '../packages/core/src/index';
import { attendOp } from '../packages/core/src/ops/attend';
import { decomposeAttend } from '../packages/core/src/ops/attend-definition';
import { attendBlockwise } from '../packages/core/src/ops/attend-window';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    windows: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '9' },
    only: { type: 'string', default: '' },
  },
});
const target = positionals[0] === 'wasm' ? targets.wasm : targets.cpu;
const ort = (await import(target === targets.wasm ? 'onnxruntime-web' : 'onnxruntime-node')) as unknown as Ort;

interface Shape {
  readonly heads: number;
  readonly kvHeads?: number;
  readonly headDim: number;
  readonly queries: number;
  readonly keys: number;
  readonly mask: 'none' | 'causal' | 'window';
  /** Positions that a query attends to, itself included. Default 64. */
  readonly window?: number;
  /** Keys and values are [batch, heads, seq, head_dim], as in a cache, instead of [batch, seq, heads · head_dim]. */
  readonly asHeads?: boolean;
}

const maskOf = ({ mask, window = 64 }: Shape): Mask<Value> =>
  mask === 'window' ? slidingWindow({ left: window - 1, right: 0 }) : { none, causal }[mask];

/** The alternatives: the definition, blocks of it under a window, and each fused op without the others. */
const ways: Readonly<Record<string, string | undefined>> = {
  definition: undefined,
  ...(values.windows && { blocks: undefined }),
  MultiHeadAttention: 'com.microsoft.MultiHeadAttention',
  GroupQueryAttention: 'com.microsoft.GroupQueryAttention',
  Attention: 'Attention',
};
const fused = Object.values(ways).filter((key) => key !== undefined);

/** The target with only one of the fused ops, which it uses at any cost. */
function withOnly(key: string | undefined): Target {
  const { [key ?? '']: kept, ...others } = target.kernels;
  const kernels = Object.fromEntries(Object.entries(others).filter(([k]) => !fused.includes(k)));
  return { ...target, kernels: kept && key ? { ...kernels, [key]: { dtypes: kept.dtypes } } : kernels };
}

function attended(way: string, [q, k, v]: readonly [Value, Value, Value], mask: Mask<Value>): Value {
  if (way === 'blocks') return attendBlockwise(q, k, v, { mask });
  return way === 'definition' ? decomposeAttend({ q, k, v, mask }, {}, q.graph.ops)[0]! : attendOp(q, k, v, { mask });
}

async function runnerOf(shape: Shape, way: string): Promise<Runner | undefined> {
  const { heads, kvHeads = heads, headDim, queries, keys, asHeads } = shape;
  const mask = maskOf(shape);
  const attention = module({}, ({ q, k, v }: Record<string, Value>) => {
    const split = (x: Value) => (asHeads ? x : splitHeads(x, kvHeads, padded));
    const rows = [splitHeads(q!, heads, padded), split(k!), split(v!)] as const;
    return { y: mergeHeads(attended(way, rows, mask), padded) };
  });
  const memory = ['float32', asHeads ? [1, kvHeads, keys, headDim] : [1, keys, kvHeads * headDim]] as const;
  const model = compile(attention, {
    target: withOnly(ways[way]),
    inputs: { q: ['float32', [1, queries, heads * headDim]], k: memory, v: memory },
    rules: attentionRules,
  });
  if (ways[way] && !model.graph.nodes.some((n) => n.op.key === ways[way])) return undefined; // it cannot express this one
  return createRunner(model, ort, target === targets.cpu ? { session: { intraOpNumThreads: 1 } } : {});
}

const noise = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898) % 1);
const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

async function measure(shape: Shape): Promise<void> {
  const { heads, kvHeads = heads, headDim, queries, keys, mask, window, asHeads } = shape;
  const about = `${heads}${kvHeads === heads ? '' : `/${kvHeads}`} × ${headDim}, ${queries} on ${keys}, ${mask}${window ? ` ${window}` : ''}${asHeads ? ', keys as heads' : ''}`;
  if (!about.includes(values.only)) return;
  const dims = asHeads ? [1, kvHeads, keys, headDim] : [1, keys, kvHeads * headDim];
  const memory = (count: number) => tensor('float32', dims, noise(count));
  const feeds = {
    q: tensor('float32', [1, queries, heads * headDim], noise(queries * heads * headDim)),
    k: memory(keys * kvHeads * headDim),
    v: memory(keys * kvHeads * headDim),
  };
  const runners: (readonly [string, Runner])[] = [];
  for (const way of Object.keys(ways)) {
    const run = await runnerOf(shape, way);
    if (run) runners.push([way, run]);
  }
  const times = new Map<string, number[]>(runners.map(([way]) => [way, []]));
  for (let round = -1; round < Number(values.rounds); round++)
    for (const [way, run] of runners) {
      const start = process.cpuUsage();
      await run(feeds);
      const { user, system } = process.cpuUsage(start);
      if (round >= 0) times.get(way)!.push((user + system) / 1000); // the first one warms up
    }
  for (const [, run] of runners) await run.dispose();
  const plain = times.get('definition')!;
  const cells = Object.keys(ways).map((way) => {
    const own = times.get(way);
    return own ? `${median(own).toFixed(2)} (${median(own.map((t, i) => t / plain[i]!)).toFixed(2)})` : '–';
  });
  process.stdout.write(`| ${[about, ...cells].join(' | ')} |\n`);
}

process.stdout.write(`| heads × head_dim, queries on keys, mask | ${Object.keys(ways).join(' | ')} |\n`);
process.stdout.write(
  `| --- | ${Object.keys(ways)
    .map(() => '---')
    .join(' | ')} |\n`,
);
const counts: readonly (readonly [queries: number, keys: number])[] = [
  [1, 128],
  [1, 1024],
  [1, 8192],
  [7, 1024],
  [16, 8192],
  [128, 1024],
  [128, 128],
  [512, 512],
  [2048, 2048],
];
if (values.windows) {
  for (const headDim of [32, 64, 128])
    for (const window of [64, 256, 1024])
      for (const times of [1, 2, 4, 8, 16, 32])
        if (window * times <= 4096)
          await measure({ heads: 4, headDim, queries: window * times, keys: window * times, mask: 'window', window });
} else {
  for (const [heads, headDim] of [
    [16, 64],
    [4, 32],
  ] as const)
    for (const mask of ['none', 'causal'] as const)
      for (const [queries, keys] of counts) await measure({ heads, headDim, queries, keys, mask });
  for (const [queries, keys] of counts) await measure({ heads: 16, kvHeads: 4, headDim: 64, queries, keys, mask: 'causal' });
  for (const kvHeads of [16, 4])
    for (const [queries, keys] of counts)
      await measure({ heads: 16, kvHeads, headDim: 64, queries, keys, mask: 'none', asHeads: true });
  for (const rows of [512, 2048, 8192]) await measure({ heads: 4, headDim: 64, queries: rows, keys: rows, mask: 'window' });
}
