// Packed sequences, padded for the attention alone: for masks and dtypes for which no kernel takes packed tokens.
import { and, comparesPositions, type Dim, keyLengths, type Mask, mulDims, none, printMask, type Value } from '@onnxformers/core';
import {
  apply,
  attendParts,
  conjuncts,
  defineOp,
  defineReasons,
  expressedBy,
  type Get,
  impliedBy,
  isOfSequences,
  lengthsFrom,
  mapMask,
  noFlops,
  type OffsetsSource,
  operandsOf,
  packRows,
  padRows,
  reasons,
  refuse,
  rule,
  sourceOf,
  tokenPlaces,
} from '@onnxformers/core/lowering';
import { Attend, PackRows, PadRows } from '@onnxformers/core/ops';
import { toHeads, tokens, toRows } from './rows';

const names = ['input', 'token_offset'] as const;
/** The kernel of com.microsoft, which writes 0 to rows of padding. Operands: input [tokens, dim], token_offset int32 [batch, longest]. */
export const RestorePadding = defineOp<Record<never, never>, typeof names>({
  key: 'com.microsoft.RestorePadding',
  operands: names,
  attributes: {},
  flops: noFlops,
  infer(given) {
    const { input, token_offset: places } = operandsOf(names, given);
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

/** PadRows → RestorePadding, or what defines it where the kernel lacks the dtype: casts around the kernel take longer. */
export const useRestorePadding = rule('PadRows → RestorePadding', PadRows, (node) => {
  const { rows, places } = operandsOf(PadRows, node.operands);
  return [
    {
      covers: node.outputs,
      emit: (get) => apply(RestorePadding, { input: get(rows), token_offset: get(places) }, {}),
    },
    {
      variant: 'by Gather',
      covers: node.outputs,
      cost: gathering,
      emit: (get) =>
        PadRows.decompose!(
          node.operands.map((v) => v && get(v)),
          node.attrs,
          node.graph.ops,
        ),
    },
  ];
});
/** Gather moves 16-bit rows at a quarter of the speed of RestorePadding: on an H200 it takes longer than the attention itself. */
const gathering = 1;

const own = defineReasons({
  otherDtypes: () => 'it is faster than Gather only in float16',
});

/**
 * PackRows → RestorePadding and Slice: each row is written to its place among the real rows, followed by those of padding. On an H200 that takes three quarters of the
 * time of Gather, which moves one element of 16 bits at a time. Rows of padding keep places of their own: written to one place, they would wait for one another.
 */
export const useSlice = rule('PackRows → RestorePadding, Slice', PackRows, (node) => {
  // Of 32 bits Gather moves twice as much in the same time, and RestorePadding has no bfloat16.
  if (node.outputs[0]!.dtype !== 'float16') return refuse(own.otherDtypes());
  const { tokens } = node.attrs;
  const emit = (get: Get): readonly Value[] => {
    const { padded: x, places } = operandsOf(
      PackRows,
      node.operands.map((v) => v && get(v)),
    );
    const { cast, iota, reshape, scatterElements, slice } = node.graph.ops;
    const [batch, longest, width] = x.dims as [Dim, Dim, Dim];
    const all = mulDims(batch, longest);
    const flat = reshape(places, [all]);
    const ranks = scatterElements(flat, cast(flat, 'int64'), iota(places, all, 'int32'), 0);
    const moved = apply(RestorePadding, { input: reshape(x, [all, width]), token_offset: reshape(ranks, [1, all]) }, {})[0]!;
    return [slice(reshape(moved, [all, width]), { axes: [0], starts: [0], ends: [tokens] })];
  };
  return { covers: node.outputs, emit };
});

const faults = defineReasons({
  rowsOfBatch: ({ mask }: { readonly mask: string }) => `the mask has data for rows of the batch: ${mask}`,
  perPair: ({ what }: { readonly what: string }) => `${what} for pairs of packed tokens`,
  weights: () => 'the weights are requested for pairs of packed tokens',
});

/**
 * Attend on packed sequences → Attend on the same sequences padded to the longest, with lengths, or without them under a causal mask: the padding is behind each sequence,
 * where no real query looks. The time is proportional to sequences · longest², as in a padded batch; everything else of a model still computes no padding. Tokens become rows
 * by RestorePadding, or by Gather where the target has no such kernel.
 */
export const usePaddedRows = rule('Attend(packed) → Attend on padded rows', Attend, (node, { takesLengths }) => {
  const { q, k, v, mask, sinks, bias, noise } = attendParts(node.operands, node.attrs);
  const parts = conjuncts(mask);
  const packed = parts.find((m) => m.class.name === 'documents');
  if (!packed) return undefined;
  const others = parts.filter((m) => m !== packed);
  const { offsets, keyOffsets, keyLengths: realKeys } = packed.operands as Readonly<Record<string, Value>>;
  const [own, ofKeys] = [sourceOf(offsets!), sourceOf(keyOffsets!)];
  if (!own || !ofKeys) return refuse(reasons.derivedOffsets());
  const together = offsets === keyOffsets && !realKeys;
  const looksAhead = !together || (impliedBy(and(none, ...others)).right ?? 1) > 0;
  // Padded sequences are aligned at the ends of the padding.
  if (!together && others.some(comparesPositions)) return refuse(reasons.keysOfOthers());
  if (bias) return refuse(faults.perPair({ what: 'a bias' }));
  if (noise) return refuse(faults.perPair({ what: 'dropout' }));
  if (node.attrs.weights) return refuse(faults.weights());
  const rowwise = others.find((m) => !isOfSequences(m));
  if (rowwise) return refuse(faults.rowsOfBatch({ mask: printMask(rowwise) }));
  const [heads, kvHeads] = [q.dims[1], k.dims[1]];
  if (typeof heads !== 'number' || typeof kvHeads !== 'number') return refuse(reasons.headCountsUnknown());
  const emit = (get: Get, byKernel: boolean): readonly Value[] => {
    const { max, min } = node.graph.ops;
    const rowsOf = (source: OffsetsSource, starts: Value) => {
      const places = tokenPlaces(get(q).graph.root, { ...source, lengths: get(source.lengths) });
      const pad = (x: Value): Value => {
        const rows = toRows(get(x), tokens);
        return byKernel
          ? apply(RestorePadding, { input: rows, token_offset: places }, {})[0]!
          : padRows(rows, get(starts), places);
      };
      return { places, pad };
    };
    const [ofQuery, ofKey] = [rowsOf(own, offsets!), rowsOf(ofKeys, keyOffsets!)];
    const real = (): Mask<Value> => {
      const space = lengthsFrom({ ...ofKeys, lengths: get(ofKeys.lengths) });
      const lengths = realKeys ? min(get(realKeys), space) : space;
      // The rows of an empty sequence are not read, so its length may be 1: then no kernel has to handle queries without keys.
      return keyLengths(together ? max(lengths, 1) : lengths);
    };
    const masks = [...(looksAhead ? [real()] : []), ...others.map((m) => mapMask(m, get))];
    const { scale, softcap } = node.attrs;
    const y = node.graph.ops.attendOp(
      toHeads(ofQuery.pad(q), heads),
      toHeads(ofKey.pad(k), kvHeads),
      toHeads(ofKey.pad(v), kvHeads),
      {
        mask: and(none, ...masks),
        ...(sinks && { sinks: get(sinks) }),
        ...(scale !== undefined && { scale }),
        ...(softcap !== undefined && { softcap }),
      },
    );
    return [toHeads(packRows(toRows(y), ofQuery.places, q.dims[2]!), heads, tokens)];
  };
  const plain = takesLengths && heads === kvHeads && !sinks && node.attrs.softcap === undefined && others.every(isCausal);
  const cost = padding + (plain ? 0 : more);
  return [
    { covers: node.outputs, cost, emit: (get) => emit(get, true) },
    { variant: 'by Gather', covers: node.outputs, cost: cost + gathering, emit: (get) => emit(get, false) },
  ];
});

const isCausal = (mask: Mask<Value>): boolean => expressedBy(mask, { causal: true }).inexpressible === undefined;

/** More than kernels for packed tokens and than blocks of a window, less than attention over all pairs of tokens. */
const padding = 15;
/** What more an attention costs that kernels do not take with lengths: they need repeated heads or a mask over all scores, or compute the padding too. */
const more = 1;
