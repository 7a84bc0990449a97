// Packed sequences, padded for the attention alone: for masks and dtypes for which no kernel takes packed tokens.
import { and, type Dim, keyLengths, type Mask, mulDims, none, printMask, type Value } from '@onnxformers/core';
import {
  apply,
  attendParts,
  conjuncts,
  defineOp,
  defineReasons,
  derive,
  expressedBy,
  freeSizeName,
  type Get,
  isOfSequences,
  mapMask,
  maskKinds,
  mismatch,
  noFlops,
  operandsOf,
  printType,
  reasons,
  refuse,
  rule,
} from '@onnxformers/core/lowering';
import { Attend } from '@onnxformers/core/ops';
import { lengthsOf } from './packed-multi-head-attention';
import { toHeads, tokens, toRows } from './rows';

const names = ['input', 'token_offset'] as const;
/**
 * The kernel: packed rows as a padded batch, with 0 in rows of padding. Operands: input [tokens, dim], token_offset int32 [batch, longest] (indices of the tokens in
 * the padded batch, then those of the padding).
 */
export const RestorePadding = defineOp<Record<never, never>, typeof names>({
  key: 'com.microsoft.RestorePadding',
  operands: names,
  attributes: {},
  flops: noFlops,
  infer(given) {
    const { input, token_offset: places } = operandsOf(names, given);
    if (input.dims.length !== 2) throw mismatch('the tokens do not have 2 axes', '[tokens, dim]', printType(input));
    if (places.dtype !== 'int32' || places.dims.length !== 2)
      throw mismatch('token_offset does not fit', 'int32[batch, longest]', printType(places));
    return [{ dtype: input.dtype, dims: [...places.dims, input.dims[1]!] }];
  },
  decompose(given, _, { cast, fill, reshape, scatterND, slice }) {
    const { input, token_offset: places } = operandsOf(names, given);
    const [batch, longest] = places.dims as [Dim, Dim];
    const [count, width] = input.dims as [Dim, Dim];
    const at = slice(reshape(places, [mulDims(batch, longest)]), { axes: [0], starts: [0], ends: [count] });
    const zeros = fill(places, [mulDims(batch, longest), width], 0, input.dtype);
    return [reshape(scatterND(zeros, reshape(cast(at, 'int64'), [count, 1]), input), [batch, longest, width])];
  },
});

/** The same by Gather: in rows of padding are tokens of the sequences that follow. */
function gathered(rows: Value, offsets: Value, [batch, longest]: readonly [Dim, Dim], places: Value): Value {
  const { add, cast, gather, iota, min, reshape, size, slice, sub } = rows.graph.ops;
  const starts = reshape(slice(offsets, { axes: [0], starts: [0], ends: [batch] }), [batch, 1]);
  const within = reshape(iota(places, longest), [1, longest]);
  const last = sub(cast(size(rows.graph, rows.dims[0]!, [rows]), 'int64'), 1);
  return gather(rows, min(add(starts, within), last), 0);
}

const own = defineReasons({
  rowsOfBatch: ({ mask }: { readonly mask: string }) => `the mask has data for rows of the batch: ${mask}`,
  perPair: ({ what }: { readonly what: string }) => `${what} for pairs of packed tokens`,
  weights: () => 'the weights are requested for pairs of packed tokens',
});

/**
 * Attend on packed sequences → Attend on the same sequences padded to the longest, with lengths. The time is proportional to sequences · longest², as in a
 * padded batch; everything else of a model still computes no padding. Tokens become rows by RestorePadding, or by Gather where the target has no such kernel.
 */
export const usePaddedRows = rule('Attend(packed) → Attend on padded rows', Attend, (node) => {
  const { q, k, v, mask, sinks, bias, noise } = attendParts(node.operands, node.attrs);
  const parts = conjuncts(mask);
  const packed = parts.find((m) => m.class.name === 'documents');
  if (!packed) return undefined;
  const others = parts.filter((m) => m !== packed);
  const { offsets, keyOffsets, keyLengths: realKeys } = packed.operands as Readonly<Record<string, Value>>;
  const lengths = lengthsOf(offsets!);
  if (realKeys) return refuse(reasons.maskNotExpressible({ mask: printMask(packed), kinds: maskKinds(packed) }));
  if (offsets !== keyOffsets) return refuse(reasons.keysOfOthers());
  if (!lengths) return refuse(reasons.derivedOffsets());
  if (bias) return refuse(own.perPair({ what: 'a bias' }));
  if (noise) return refuse(own.perPair({ what: 'dropout' }));
  if (node.attrs.weights) return refuse(own.weights());
  const rowwise = others.find((m) => !isOfSequences(m));
  if (rowwise) return refuse(own.rowsOfBatch({ mask: printMask(rowwise) }));
  const [heads, kvHeads] = [q.dims[1], k.dims[1]];
  if (typeof heads !== 'number' || typeof kvHeads !== 'number') return refuse(reasons.headCountsUnknown());
  const emit = (get: Get, byKernel: boolean): readonly Value[] => {
    const { cast, gather, max, reshape, slice } = node.graph.ops;
    const name = lengths.leaf && 'name' in lengths.leaf ? lengths.leaf.name : 'sequences';
    const type = { dtype: 'int32', dims: [lengths.dims[0]!, freeSizeName(get(q).graph.root, `longest_of_${name}`)] } as const;
    const places = derive(get(q).graph.root, 'tokenOffset', type, [get(lengths)]);
    const [batch, longest] = places.dims as [Dim, Dim];
    const padded = (x: Value, n: number): Value => {
      const rows = toRows(get(x), tokens);
      const restored = byKernel
        ? apply(RestorePadding, { input: rows, token_offset: places }, {})[0]!
        : gathered(rows, get(offsets!), [batch, longest], places);
      return toHeads(restored, n);
    };
    // The rows of an empty sequence are not read, so its length may be 1: then no kernel has to handle queries without keys.
    const nonEmpty = max(get(lengths), 1);
    const masks: readonly Mask<Value>[] = [keyLengths(nonEmpty), ...others.map((m) => mapMask(m, get))];
    const { scale, softcap } = node.attrs;
    const y = node.graph.ops.attendOp(padded(q, heads), padded(k, kvHeads), padded(v, kvHeads), {
      mask: and(none, ...masks),
      ...(sinks && { sinks: get(sinks) }),
      ...(scale !== undefined && { scale }),
      ...(softcap !== undefined && { softcap }),
    });
    const rows = reshape(toRows(y), [mulDims(batch, longest), mulDims(heads, v.dims[3]!)]);
    const real = slice(reshape(places, [mulDims(batch, longest)]), { axes: [0], starts: [0], ends: [q.dims[2]!] });
    return [toHeads(gather(rows, cast(real, 'int64'), 0), heads, tokens)];
  };
  const plain = heads === kvHeads && !sinks && node.attrs.softcap === undefined && others.every((m) => causalOnly(m));
  const cost = padding + (plain ? 0 : overScores);
  return [
    { covers: node.outputs, cost, emit: (get) => emit(get, true) },
    { variant: 'by Gather', covers: node.outputs, cost: cost + gathering, emit: (get) => emit(get, false) },
  ];
});

const causalOnly = (mask: Mask<Value>): boolean => expressedBy(mask, { causal: true }).inexpressible === undefined;

/** More than kernels for packed tokens and than blocks of a window, less than attention over all pairs of tokens. */
const padding = 15;
/** What more an attention costs that kernels do not take with lengths: they need repeated heads, or a mask over all scores. */
const overScores = 1;
/** Gather moves 16-bit rows at a quarter of the speed of RestorePadding: on an H200 it takes longer than the attention itself. */
const gathering = 1;
