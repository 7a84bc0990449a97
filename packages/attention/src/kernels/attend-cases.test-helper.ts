// Small attentions of all kinds, for tests of rules and targets.
import {
  and,
  blockLayout,
  causal,
  causalFromTopLeft,
  type Dim,
  type DType,
  dense,
  dilated,
  documentIds,
  globalTokens,
  type InputType,
  keyLengths,
  keyPadding,
  keyStarts,
  linear,
  lookup,
  maskMod,
  module,
  type NDArray,
  none,
  or,
  padded,
  prefix,
  slidingWindow,
  splitHeads,
  type Tensor,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { nameOf } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { computeDerived, randomArray } from '@onnxformers/core/testing';

type Inputs = Readonly<Record<string, InputType>>;

export interface AttendCase {
  readonly name: string;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly headDim?: number;
  readonly valueDim?: number;
  /** Queries, by name or number; default `seq`. */
  readonly seq?: Dim;
  /** Keys; default as many as queries. */
  readonly kvSeq?: Dim;
  readonly inputs?: Inputs;
  readonly cache?: 'growing' | 'fixed';
  /** The cache is computed in the graph instead of being an input. */
  readonly computed?: boolean;
  /** Queries, keys and values are linear maps of one x; that of the keys has no bias. */
  readonly projected?: boolean;
  /** Queries and new keys are rotated by their positions, which are counted unless they are an input. */
  readonly turned?: ops.RotaryOptions;
  readonly options: (inputs: Readonly<Record<string, Value>>) => ops.AttendOpOptions;
}

export const sizes = { batch: 3, seq: 7, kv: 11, past: 5, capacity: 13 } as const;
const lengths: Inputs = { lengths: ['int64', ['batch']] };
const byLengths = (inputs: Readonly<Record<string, Value>>) => keyLengths(inputs.lengths!);
const keep: Inputs = { keep: ['bool', ['batch', 'kv']] };

export const attendCases: readonly AttendCase[] = [
  { name: 'encoder', options: () => ({ mask: none }) },
  { name: 'encoder, scaled', options: () => ({ mask: none, scale: 0.7 }) },
  { name: 'encoder, lengths', inputs: lengths, options: (i) => ({ mask: byLengths(i) }) },
  { name: 'encoder, keys', kvSeq: 'kv', inputs: keep, options: (i) => ({ mask: keyPadding(i.keep!) }) },
  {
    name: 'encoder, tensor and bias',
    inputs: { keep: ['bool', ['batch', 1, 'seq', 'seq']], bias: ['float32', [1, 2, 'seq', 'seq']] },
    options: (i) => ({ mask: dense(i.keep!), bias: i.bias! }),
  },
  { name: 'encoder, bias', inputs: { bias: ['float32', [1, 2, 'seq', 'seq']] }, options: (i) => ({ mask: none, bias: i.bias! }) },
  {
    name: 'encoder, bias of all heads',
    inputs: { bias: ['float32', ['batch', 1, 'seq', 'seq']] },
    options: (i) => ({ mask: none, bias: i.bias! }),
  },
  { name: 'encoder, grouped', heads: 6, options: () => ({ mask: none }) },
  { name: 'encoder, grouped, lengths', heads: 6, inputs: lengths, options: (i) => ({ mask: byLengths(i) }) },
  { name: 'encoder, window', options: () => ({ mask: slidingWindow({ left: 2, right: 1 }) }) },
  { name: 'encoder, left padding', inputs: { starts: ['int64', ['batch']] }, options: (i) => ({ mask: keyStarts(i.starts!) }) },
  { name: 'encoder, prefix', inputs: lengths, options: (i) => ({ mask: prefix(i.lengths!) }) },
  {
    name: 'encoder, document ids',
    heads: 6,
    inputs: { ids: ['int64', ['batch', 'seq']] },
    options: (i) => ({ mask: and(causal, documentIds(i.ids!)) }),
  },
  {
    name: 'encoder, blocks',
    inputs: { layout: ['bool', [2, 3, 3]] },
    options: (i) => ({ mask: blockLayout(i.layout!, 3) }),
  },
  {
    name: 'encoder, dilated window with global tokens',
    options: () => ({ mask: or(and(slidingWindow({ left: 4, right: 2 }), dilated(2)), globalTokens(1)) }),
  },
  {
    name: 'encoder, expression',
    inputs: { ids: ['int64', ['batch', 'seq']] },
    options: ({ ids }) => ({
      mask: maskMod((b, h, q, k) =>
        lookup(ids!, b, q)
          .eq(lookup(ids!, b, k))
          .or(h.eq(1).and(q.floorDiv(3).eq(k.floorDiv(3)))),
      ),
    }),
  },
  {
    name: 'causal, expression, fewer queries',
    heads: 6,
    kvSeq: 'kv',
    inputs: { gates: ['float32', [6, 17]] },
    options: ({ gates }) => ({
      mask: maskMod((_b, h, q, k) => q.ge(k).and(lookup(gates!, h, q.sub(k).mul(2)).gt(0.25).or(k.mod(4).eq(0)))),
    }),
  },
  {
    name: 'cache, expression',
    heads: 6,
    cache: 'growing',
    options: () => ({ mask: maskMod((_b, h, q, k) => q.ge(k).and(q.sub(k).mod(5).le(h.div(2)))) }),
  },
  { name: 'encoder, narrow values', valueDim: 5, options: () => ({ mask: none }) },
  { name: 'encoder, projected', projected: true, options: () => ({ mask: none }) },
  { name: 'encoder, projected, lengths', projected: true, inputs: lengths, options: (i) => ({ mask: byLengths(i) }) },
  { name: 'causal, projected', projected: true, options: () => ({ mask: causal }) },
  { name: 'cross', kvSeq: 'kv', options: () => ({ mask: none }) },
  { name: 'cross, lengths', kvSeq: 'kv', inputs: lengths, options: (i) => ({ mask: byLengths(i) }) },
  { name: 'causal', options: () => ({ mask: causal }) },
  { name: 'causal, lengths', inputs: lengths, options: (i) => ({ mask: and(causal, byLengths(i)) }) },
  { name: 'causal, grouped', heads: 6, options: () => ({ mask: causal }) },
  { name: 'causal, grouped, lengths', heads: 6, inputs: lengths, options: (i) => ({ mask: and(causal, byLengths(i)) }) },
  { name: 'causal, odd heads', headDim: 5, options: () => ({ mask: causal }) },
  { name: 'causal, fewer queries', kvSeq: 'kv', options: () => ({ mask: causal }) },
  { name: 'causal from the top left, fewer queries', heads: 6, kvSeq: 'kv', options: () => ({ mask: causalFromTopLeft }) },
  { name: 'causal from the top left', options: () => ({ mask: causalFromTopLeft }) },
  { name: 'causal, one query', seq: 1, kvSeq: 'kv', options: () => ({ mask: causal }) },
  {
    name: 'causal, bias',
    inputs: { bias: ['float32', ['batch', 2, 'seq', 'seq']] },
    options: (i) => ({ mask: causal, bias: i.bias! }),
  },
  { name: 'causal, window', options: () => ({ mask: slidingWindow({ left: 2, right: 0 }) }) },
  { name: 'causal, softcap', options: () => ({ mask: causal, softcap: 0.8 }) },
  { name: 'causal, sinks', inputs: { sinks: ['float32', [2]] }, options: (i) => ({ mask: causal, sinks: i.sinks! }) },
  { name: 'cache', heads: 6, cache: 'growing', options: () => ({ mask: causal }) },
  { name: 'cache, one query', seq: 1, heads: 6, cache: 'growing', options: () => ({ mask: causal }) },
  { name: 'cache, computed', seq: 1, heads: 6, cache: 'growing', computed: true, options: () => ({ mask: causal }) },
  { name: 'cache, window', cache: 'growing', options: () => ({ mask: slidingWindow({ left: 2, right: 0 }) }) },
  { name: 'fixed cache', heads: 6, cache: 'fixed', options: (i) => ({ mask: causal, queryOffset: i.pastLengths! }) },
  { name: 'fixed cache, one query', seq: 1, cache: 'fixed', options: (i) => ({ mask: causal, queryOffset: i.pastLengths! }) },
  { name: 'turned', headDim: 16, turned: {}, options: () => ({ mask: causal }) },
  { name: 'turned, grouped', heads: 6, headDim: 16, turned: { interleaved: true }, options: () => ({ mask: causal }) },
  {
    name: 'turned by an input',
    headDim: 16,
    turned: {},
    inputs: { positions: ['int64', ['batch', 'seq']] },
    options: () => ({ mask: causal }),
  },
  { name: 'turned, few channels', turned: {}, options: () => ({ mask: causal }) },
  { name: 'turned, cache', heads: 6, headDim: 16, cache: 'growing', turned: {}, options: () => ({ mask: causal }) },
  {
    name: 'turned, fixed cache',
    heads: 6,
    headDim: 32,
    cache: 'fixed',
    turned: { rotaryDim: 16 },
    options: (i) => ({ mask: causal, queryOffset: i.pastLengths! }),
  },
  {
    name: 'turned, fixed cache, one query',
    seq: 1,
    heads: 6,
    headDim: 48,
    cache: 'fixed',
    turned: { rotaryDim: 32, interleaved: true },
    options: (i) => ({ mask: causal, queryOffset: i.pastLengths! }),
  },
];

/** The inputs of a case's model. */
export function inputsOf(c: AttendCase, dtype: DType = 'float32'): Inputs {
  const { heads = 2, kvHeads = 2, headDim = 8, valueDim = headDim, seq = 'seq', kvSeq = seq } = c;
  const rows: Inputs = c.projected
    ? { x: [dtype, ['batch', seq, heads * headDim]] }
    : {
        q: [dtype, ['batch', heads, seq, headDim]],
        k: [dtype, ['batch', kvHeads, kvSeq, headDim]],
        v: [dtype, ['batch', kvHeads, kvSeq, valueDim]],
      };
  const before = c.cache === 'fixed' ? sizes.capacity : 'past';
  const past: Inputs = c.cache
    ? { pastKey: [dtype, ['batch', kvHeads, before, headDim]], pastValue: [dtype, ['batch', kvHeads, before, valueDim]] }
    : {};
  const pastLengths: Inputs = c.cache === 'fixed' ? { pastLengths: ['int64', ['batch']] } : {};
  const others = Object.entries(c.inputs ?? {}).map(
    ([name, [d, dims]]) => [name, [d === 'float32' ? dtype : d, dims, 'data']] as const,
  );
  return { ...rows, ...past, ...pastLengths, ...Object.fromEntries(others) };
}

/** The model of a case: y, the weights if requested, and the caches if there are any. */
export function modelOf(c: AttendCase, { weights = false } = {}) {
  const { heads = 2, headDim = 8 } = c;
  const dim = heads * headDim;
  const maps = c.projected ? [true, false, true].map((bias) => linear(dim, dim, { bias })) : [];
  return module({ maps }, (inputs: Readonly<Record<string, Value>>) => {
    const { x, pastKey, pastValue, pastLengths } = inputs;
    const rows = x && maps.map((map) => splitHeads(map(x), heads, padded));
    const [still, stillKey, v] = (rows ?? [inputs.q, inputs.k, inputs.v]) as readonly [Value, Value, Value];
    const [q, k] = [still, stillKey].map((x) => (c.turned ? turned(x, inputs, c.turned) : x)) as [Value, Value];
    const { graph } = q;
    const attention = (keys: Value, values: Value): Readonly<Record<string, Value>> =>
      graph.root.scope('attention', () =>
        weights
          ? { ...ops.attendWithWeights(q, keys, values, c.options(inputs)) }
          : { y: ops.attendOp(q, keys, values, c.options(inputs)) },
      );
    if (!pastKey) return attention(k, v);
    const [before, valuesBefore] = c.computed ? [ops.mul(pastKey, 2), ops.mul(pastValue!, 2)] : [pastKey, pastValue!];
    const [keys, values] = [ops.cacheAppend(before, k, pastLengths), ops.cacheAppend(valuesBefore, v, pastLengths)];
    return { ...attention(keys, values), keys, values };
  });
}

// Angles proportional to the position, with higher frequencies for the first pairs; cosines and sines are scaled, as in YaRN.
function turned(x: Value, { pastLengths, positions }: Readonly<Record<string, Value>>, options: ops.RotaryOptions): Value {
  const [batch, , seq, headDim] = x.dims as readonly [Dim, Dim, Dim, number];
  const counted = ops.reshape(ops.iota(x.graph, seq), [1, seq]);
  const places =
    positions ?? (pastLengths ? ops.add(ops.unsqueeze(pastLengths, [1]), counted) : ops.expand(counted, [batch, seq]));
  const pairs = (options.rotaryDim ?? headDim) / 2;
  const rates = Array.from({ length: pairs }, (_, i) => 0.7 ** i);
  const angles = ops.mul(ops.unsqueeze(ops.cast(places, 'float32'), [2]), x.graph.number(rates, 'float32'));
  const table = (of: Value): Value => ops.cast(ops.mul(of, 1.25), x.dtype);
  return ops.rotaryEmbedding(x, table(ops.cos(angles)), table(ops.sin(angles)), undefined, options);
}

/** Data of a case. One sequence has no keys. With several new positions the caches are empty, and their unused positions are 0. */
export function feedsOf(c: AttendCase): Readonly<Record<string, NDArray>> {
  const first = c.cache !== undefined && c.seq !== 1;
  const pastLengths = first ? [0, 0, 0] : [5, 0, 3];
  const of = (d: Dim): number => (d === 'past' && first ? 0 : typeof d === 'number' ? d : sizes[d as keyof typeof sizes]);
  const feeds = Object.entries(inputsOf(c)).map(([name, [dtype, dims]]) => {
    const random = randomArray(name, dims.map(of), dtype);
    const with_ = (values: Iterable<number>): NDArray => ({ ...random, data: Float64Array.from(values) });
    if (name === 'starts') return [name, with_([2, 0, of('seq')])];
    if (name === 'ids') return [name, with_(random.data.map((_, i) => Math.floor((i % 7) / 3) - (i > 16 ? 1 : 0)))];
    if (name === 'lengths') return [name, with_([4, 0, of(c.kvSeq ?? 'seq')])];
    if (name === 'pastLengths') return [name, with_(pastLengths)];
    if (name === 'positions') return [name, with_(random.data.map((_, i) => (5 * i) % 11))];
    if (dtype === 'bool') return [name, with_(random.data.map((x, i) => (x > -0.3 && i >= random.dims.at(-1)! ? 1 : 0)))];
    if (c.cache === 'fixed' && name.startsWith('past')) {
      const [, heads, capacity, width] = random.dims as [number, number, number, number];
      const used = (i: number): boolean =>
        Math.floor(i / width) % capacity < pastLengths[Math.floor(i / (heads * capacity * width))]!;
      return [name, with_(random.data.map((x, i) => (used(i) ? x : 0)))];
    }
    return [name, random];
  });
  return Object.fromEntries(feeds);
}

/** The same as tensors. */
export const tensorsOf = (feeds: Readonly<Record<string, NDArray>>): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(feeds).map(([name, array]) => [name, toTensor(array)]));

/** What the runner computes for an input that a rule asked for. */
export function derivedFeed({ leaf, dtype, dims }: Value, feeds: Readonly<Record<string, NDArray>>): [string, NDArray][] {
  if (leaf?.kind !== 'derived' || leaf.name in feeds) return [];
  const from = leaf.from.map((v) => feeds[nameOf(v)!]!);
  const known = (d: Dim): number => (typeof d === 'number' ? d : { ...sizes, seq: feeds.q!.dims[2]! }[d as keyof typeof sizes]);
  return [[leaf.name, computeDerived(leaf.how, from, known, { dtype, dims }, leaf.plus)!]];
}
