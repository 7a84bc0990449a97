// Greedy tokens of one decoder by every path that keeps a cache: pools of blocks stepped from JavaScript, the same in a Loop, GQA in a Loop, and
// standard ONNX ops in a Loop. All in float16; they must be equal.

import { subgraphsOf } from '../../packages/core/src/lowering';
import {
  and,
  type CompileOptions,
  causal,
  compile,
  createRunner,
  embedding,
  type Graph,
  generate,
  initialize,
  linear,
  mlp,
  module,
  multiHead,
  type Ort,
  ops,
  type RunnerOptions,
  rmsNorm,
  rotary,
  type SequenceContext,
  type Tensor,
  targets,
  tensor,
  toArray,
  type Value,
} from '../../packages/onnxformers/src/index';

const [vocab, dim, headDim, depth] = [97, 192, 64, 3];
const machine = { runtime: '1.30.0', sm: 90 };

/** The result of {@link pagedTokens}. */
export interface PagedResult {
  /** The tokens of each sequence, by path. */
  readonly tokens: Readonly<Record<string, readonly (readonly number[])[]>>;
  /** Times per token, in milliseconds, of the second run of each path. */
  readonly milliseconds: Readonly<Record<string, number>>;
  /** Number of nodes of each op in the graph of a path. */
  readonly ops: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Sizes of the check. */
export interface PagedSizes {
  /** Positions of a block; the fast kernel of this head size requires 256. */
  readonly blockSize?: number;
  readonly batch?: number;
  readonly prompt?: number;
  readonly steps?: number;
  /** Where `paged` and `gqa` run; default cuda. The plain path runs on the CPU. */
  readonly device?: RunnerOptions['device'];
}

function decoder() {
  const embed = embedding(vocab, dim, { init: { kind: 'normal', std: 1 } });
  const layers = Array.from({ length: depth }, () => {
    const [norm1, norm2] = [rmsNorm({ dim }), rmsNorm({ dim })];
    const mixer = multiHead({ dim, heads: 6, kvHeads: 2, headDim, bias: false, rotaryEmbedding: rotary({ dim: headDim }) });
    const feedforward = mlp({ dim, hidden: 512 });
    return module({ norm1, mixer, norm2, feedforward }, (x: Value, ctx: SequenceContext) => {
      const h = ops.add(x, mixer(norm1(x), ctx));
      return ops.add(h, feedforward(norm2(h), ctx));
    });
  });
  const [norm, head] = [rmsNorm({ dim }), linear(dim, vocab, { init: { kind: 'normal', std: 0.3 } })];
  const children = { embed, layers, norm, head };
  const logits = (ids: Value, ctx: SequenceContext): Value => {
    const seen = { ...ctx, mask: and(ctx.mask, causal) };
    return head(norm(layers.reduce((x, layer) => layer(x, seen), embed(ids))));
  };
  return { children, logits };
}

/** Runs every path twice; the caller compares the tokens. */
export async function pagedTokens(ort: Ort, sizes: PagedSizes = {}): Promise<PagedResult> {
  const { blockSize = 256, batch = 2, prompt = 19, steps = 24, device = 'cuda' } = sizes;
  const { children, logits } = decoder();
  const capacity = Math.ceil((prompt + steps) / blockSize) * blockSize;
  const pool = { blocks: (batch * capacity) / blockSize + 1, blockSize };
  const ids = Array.from({ length: batch }, (_, b) =>
    Array.from({ length: prompt }, (_, i) => (7 * i * i + 13 * b + 3 * i) % vocab),
  );
  const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
  const built = (o: { readonly inLoop: boolean; readonly paged: boolean } & Partial<CompileOptions>) => {
    const { inLoop, paged, ...rest } = o;
    const pools = paged ? { paged: pool } : {};
    const model = module(children, (given: Record<string, Value>, ctx: SequenceContext) => {
      const g = given.ids!.graph.root;
      if (!inLoop) return { logits: logits(given.ids!, ctx) };
      return { tokens: generate(g, { prompt: given.ids!, steps, capacity, step: logits, ...pools }) };
    });
    const weights = initialize(model, { seed: 29 });
    return compile(model, {
      target: targets.cuda,
      machine,
      dtype: 'float16',
      inputs,
      weights,
      assumptions: ['prefill into empty cache'],
      ...rest,
    });
  };
  const paths = {
    'paged, from JavaScript': built({ inLoop: false, paged: true, state: { paged: pool } }),
    'paged, in a Loop': built({ inLoop: true, paged: true }),
    'gqa, in a Loop': built({ inLoop: true, paged: false }),
    'plain, in a Loop': built({ inLoop: true, paged: false, target: targets.portable(21) }),
  };
  const tokens: Record<string, number[][]> = {};
  const milliseconds: Record<string, number> = {};
  const ops: Record<string, Record<string, number>> = {};
  for (const [name, model] of Object.entries(paths)) {
    const run = await createRunner(model, ort, { device: name.startsWith('plain') ? 'cpu' : device });
    const whole = async (): Promise<number[][]> => rowsOf((await run({ ids: int64(ids) })).tokens!, batch);
    const stepped = async (): Promise<number[][]> => {
      const made: number[][] = ids.map(() => []);
      for (let fresh = ids, pastLengths = 0, step = 0; step < steps; step++) {
        const outputs = await run({ ids: int64(fresh), past_lengths: tensor('int64', [batch], Array(batch).fill(pastLengths)) });
        pastLengths += fresh[0]!.length;
        fresh = best(outputs.logits!).map((token) => [token]);
        made.forEach((row, b) => row.push(fresh[b]![0]!));
      }
      return made;
    };
    const path = model.graph.outputs[0]!.name === 'tokens' ? whole : stepped;
    await path();
    const before = performance.now();
    tokens[name] = await path();
    milliseconds[name] = (performance.now() - before) / steps;
    ops[name] = {};
    for (const key of keysOf(model.graph)) ops[name][key] = (ops[name][key] ?? 0) + 1;
    await run.dispose();
  }
  return { tokens, milliseconds, ops };
}

const int64 = (rows: readonly (readonly number[])[]): Tensor => tensor('int64', [rows.length, rows[0]!.length], rows.flat());
function rowsOf({ dims, data }: Tensor, batch: number): number[][] {
  const width = dims[1]!;
  return Array.from({ length: batch }, (_, b) => Array.from({ length: width }, (_, i) => Number(data[b * width + i])));
}

// The greedy token at the last position of each sequence.
function best(logits: Tensor): number[] {
  const [batch, n] = logits.dims as [number, number];
  const { data } = toArray(logits);
  return Array.from({ length: batch }, (_, b) => {
    const row = data.subarray((b * n + n - 1) * vocab, (b * n + n) * vocab);
    return row.indexOf(row.reduce((a, x) => Math.max(a, x)));
  });
}

const keysOf = (graph: Graph): string[] =>
  graph.nodes.flatMap((node) => [node.op.key, ...subgraphsOf(node).flatMap(([, inner]) => keysOf(inner))]);
