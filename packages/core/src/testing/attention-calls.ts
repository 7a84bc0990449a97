// Random attention calls for property tests: sizes, a mask of any kind, and the positions of the queries.
import fc from 'fast-check';
import type { Dim } from '../dim/dim';
import { tableName } from '../expression/step';
import type { GraphBuilder, Value } from '../ir/graph';
import type { ExpressionOptions } from '../mask/expression';
import {
  and,
  blockLayout,
  causal,
  causalFromTopLeft,
  dense,
  dilated,
  documentIds,
  documents,
  globalTokens,
  keyLengths,
  keyPadding,
  keyStarts,
  type Mask,
  maskKinds,
  maskMod,
  none,
  not,
  or,
  prefix,
  randomPairs,
  slidingWindow,
  slidingWindowFromTopLeft,
} from '../mask/index';
import { countOf, type DType, type NDArray } from '../tensor/tensor';
import { placeFunctions, type RandomCondition } from './mask-functions';
import { randomNumbers } from './random';

/** Sizes and data of one call; everything in the mask is an array. */
export interface AttentionCall {
  readonly batch: number;
  readonly kvHeads: number;
  readonly group: number;
  readonly seq: number;
  readonly kvSeq: number;
  readonly mask: Mask<NDArray>;
  readonly queryOffset?: NDArray;
}

export const array = (dtype: DType, dims: readonly number[], data: ArrayLike<number>): NDArray => ({
  dtype,
  dims,
  data: Float64Array.from(data),
});
/** An array of random numbers from -1.5 to 1.5, or of random bools, the same for the same name. */
export function randomArray(name: string, dims: readonly number[], dtype: DType = 'float32'): NDArray {
  const numbers = randomNumbers(name);
  return array(
    dtype,
    dims,
    Array.from({ length: countOf(dims) }, () => (dtype === 'bool' ? Math.round(numbers()) : 3 * numbers() - 1.5)),
  );
}

type Sizes = Omit<AttentionCall, 'mask' | 'queryOffset'> & {
  /** Packed sequences; default the batch. */
  readonly sequences?: number;
};
const sizes: fc.Arbitrary<Sizes> = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  seq: fc.integer({ min: 1, max: 6 }),
  kvSeq: fc.integer({ min: 1, max: 7 }),
});

const bools = (dims: readonly number[]): fc.Arbitrary<NDArray> =>
  fc
    .array(fc.integer({ min: 0, max: 1 }), { minLength: countOf(dims), maxLength: countOf(dims) })
    .map((data) => array('bool', dims, data));
const grid = (x: NDArray, dims: readonly number[]): NDArray =>
  array(
    'int64',
    dims,
    x.data.map((id) => id - 1),
  );
const int64s = (length: number, max: number): fc.Arbitrary<NDArray> =>
  fc.array(fc.integer({ min: 0, max }), { minLength: length, maxLength: length }).map((data) => array('int64', [length], data));

/** Any mask except documents. */
function anyMask({ batch, kvHeads, group, seq, kvSeq, sequences = batch }: Sizes): fc.Arbitrary<Mask<NDArray>> {
  const ids = (rows: number): fc.Arbitrary<NDArray> => int64s(batch * rows, 3).map((x) => grid(x, [batch, rows]));
  const layout = (size: number): fc.Arbitrary<NDArray> =>
    fc
      .tuple(fc.constantFrom(1, kvHeads * group), fc.integer({ min: 0, max: 1 }))
      .chain(([heads, more]) => bools([heads, Math.ceil(Math.max(seq, kvSeq) / size) + more, Math.ceil(kvSeq / size) + more]));
  const bound = fc.option(fc.integer({ min: -1, max: 6 }), { nil: undefined });
  const pairs = fc
    .tuple(fc.integer({ min: 0, max: 4 }), fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }))
    .chain(([rank, ones]) => bools([batch, kvHeads * group, seq, kvSeq].map((d, i) => (ones[i] ? 1 : d)).slice(4 - rank)));
  const leaf: fc.Arbitrary<Mask<NDArray>> = fc.oneof(
    fc.constant(none),
    fc.constant(causal),
    fc
      .tuple(fc.constantFrom(slidingWindow, slidingWindowFromTopLeft), bound, bound)
      .map(([window, left, right]) => window({ ...(left !== undefined && { left }), ...(right !== undefined && { right }) })),
    fc.constant(causalFromTopLeft),
    fc.integer({ min: 1, max: 4 }).map((step) => dilated(step)),
    fc.integer({ min: 0, max: 4 }).map((length) => prefix(length)),
    int64s(sequences, kvSeq).map((lengths) => prefix(lengths)),
    fc.integer({ min: 0, max: 3 }).map((count) => globalTokens(count)),
    fc.array(fc.integer({ min: 0, max: 8 }), { maxLength: 3 }).map((positions) => globalTokens(positions)),
    fc
      .tuple(fc.constantFrom(0.2, 0.7, 1), fc.integer({ min: 0, max: 2 ** 53 - 1 }), fc.boolean())
      .map(([density, seed, data]) => (data ? randomPairs(density, array('int64', [], [seed])) : randomPairs(density, seed))),
    fc.tuple(bools([batch, seq]), bools([batch, kvSeq])).map(([queries, keys]) => globalTokens({ queries, keys })),
    fc.integer({ min: 1, max: 4 }).chain((size) => layout(size).map((x) => blockLayout(x, size))),
    fc.tuple(ids(seq), ids(kvSeq)).map(([queries, keys]) => documentIds(queries, keys)),
    int64s(sequences, kvSeq).map((keys) => keyStarts(keys)),
    int64s(sequences, kvSeq).map((keys) => keyLengths(keys)),
    bools([batch, kvSeq]).map((keep) => keyPadding(keep)),
    pairs.map((keep) => dense(keep)),
    fc
      .tuple(
        placeFunctions({ sequences, heads: kvHeads * group, queries: Math.max(seq, kvSeq), keys: kvSeq }).condition,
        fc.constantFrom({}, { align: 'topLeft' } as const),
      )
      .map(([condition, align]) => maskOf(condition, align)),
  );
  return fc.letrec<{ mask: Mask<NDArray> }>((tie) => ({
    mask: fc.oneof(
      { maxDepth: 2 },
      leaf,
      fc.tuple(fc.constantFrom(and, or), fc.array(tie('mask'), { minLength: 1, maxLength: 3 })).map(([join, of]) => join(...of)),
      tie('mask').map((of) => not(of)),
    ),
  })).mask;
}

const maskOf = (condition: RandomCondition, align: Parameters<typeof maskMod>[1]): Mask<NDArray> =>
  maskMod((b, h, q, k) => condition.build({ b, h, q, k, score: b }), align);

/** Queries at the end of the keys, at `queryOffset`, or packed. */
export const attentionCall: fc.Arbitrary<AttentionCall> = fc.oneof(
  sizes.chain((s) => anyMask(s).map((mask) => ({ ...s, mask }))),
  sizes.chain((s) => {
    const kvSeq = s.kvSeq + s.seq;
    return fc
      .tuple(anyMask({ ...s, kvSeq }), int64s(s.batch, s.kvSeq))
      .map(([mask, queryOffset]) => ({ ...s, kvSeq, mask, queryOffset }));
  }),
  packedCall(),
);

function packedCall(): fc.Arbitrary<AttentionCall> {
  const sequence = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }));
  const layout = fc.record({
    kvHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 2 }),
    before: fc.integer({ min: 0, max: 1 }),
    after: fc.integer({ min: 0, max: 2 }),
    sequences: fc.array(sequence, { minLength: 1, maxLength: 4 }),
    same: fc.boolean(),
    padded: fc.boolean(),
  });
  return layout.chain(({ before, after, sequences, same, padded, kvHeads, group }) => {
    const offsetsOf = (lengths: readonly number[]): number[] => {
      const offsets = [before];
      for (const n of lengths) offsets.push(offsets.at(-1)! + n);
      return offsets;
    };
    const queries = offsetsOf(sequences.map(([n]) => n));
    const keyRows = same ? queries : offsetsOf(sequences.map(([, n]) => n));
    const offsets = array('int64', [queries.length], queries);
    const keyOffsets = same ? offsets : array('int64', [keyRows.length], keyRows);
    const s = { batch: 1, kvHeads, group, seq: queries.at(-1)! + after, kvSeq: keyRows.at(-1)! + after };
    // Also longer than the space of a sequence.
    const lengths = padded ? int64s(sequences.length, 4) : fc.constant(undefined);
    return fc.tuple(lengths, anyMask({ ...s, sequences: sequences.length })).map(([keys, mask]) => {
      return { ...s, mask: and(documents(offsets, keyOffsets, keys), mask) };
    });
  });
}

/** Inputs of a graph, one for each array, and their feeds. */
export function feeder(g: GraphBuilder) {
  const inputs = new Map<NDArray, Value>();
  const feeds: Record<string, NDArray> = {};
  /** `dims` names sizes; default the array's own. */
  function input(x: NDArray, dims: readonly Dim[] = x.dims): Value {
    let value = inputs.get(x);
    if (!value) {
      const name = `x${inputs.size}`;
      value = g.input(name, x.dtype, dims);
      inputs.set(x, value);
      feeds[name] = x;
    }
    return value;
  }
  /** `named` returns the symbolic size for a number, by its axis in [batch, heads, seq, kv_seq]. */
  function mask(m: Mask<NDArray>, named: readonly Dim[], packed = maskKinds(m).includes('documents')): Mask<Value> {
    const [batch, , seq, kvSeq] = named as readonly [Dim, Dim, Dim, Dim];
    const namedAxis = ({ steps }: ExpressionOptions, table: string, axis: number, size: number): Dim => {
      const read = steps.find((step) => step.op === 'lookup' && tableName(step.table) === table);
      const index = read && 'of' in read && steps[read.of[axis]!]!.op;
      return index === 'b' && !packed ? batch : size;
    };
    const dimsOf = (name: string, x: NDArray): readonly Dim[] => {
      switch (m.class.name) {
        case 'lengths':
        case 'keyStarts':
        case 'prefix':
          return packed ? x.dims : [batch];
        case 'keyPadding':
          return [batch, kvSeq];
        case 'global':
        case 'documentIds':
          return [batch, name === 'keys' ? kvSeq : seq];
        case 'computed':
        case 'dense':
          return x.dims.map((d, i) => (d === 1 ? 1 : named[4 - x.dims.length + i]!));
        case 'expression':
          return x.dims.map((d, axis) => namedAxis(m.options as ExpressionOptions, name, axis, d));
        default:
          return x.dims;
      }
    };
    const operands = Object.entries(m.operands).map(([name, x]) => [name, input(x, dimsOf(name, x))] as const);
    return { ...m, operands: Object.fromEntries(operands), parts: m.parts.map((part) => mask(part, named, packed)) };
  }
  return { feeds, input, mask };
}
