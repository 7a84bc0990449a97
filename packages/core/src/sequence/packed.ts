// The layout of a packed batch: where its sequences are, the same with prefix tokens, and the same sequences as a padded batch.
import { addDims, type Dim, mulDims } from '../dim/dim';
import { ConfigError } from '../error';
import type { GraphBuilder, Value } from '../ir/graph';
import { and } from '../mask/and';
import { documents } from '../mask/documents';
import { keyLengths } from '../mask/lengths';
import { add } from '../ops/elementwise';
import { concat, expand, reshape, unsqueeze } from '../ops/movement';
import { packRows, padRows } from '../ops/packed-rows';
import { iota } from '../ops/shape';
import { type Memory, type SequenceContext, withContext, without } from './context';
import { derive } from './derive';
import { type Layout, mergeHeads, type PackedLayout, type PaddedRows, padded, splitHeads } from './layout';
import { lengthsFrom, type OffsetsSource, tokenPlaces } from './token-places';
import type { State } from './types';

/** The sequences of a packed batch: their lengths, and the rows of all of them, prefix tokens included. */
interface Sequences extends OffsetsSource {
  readonly rows: Dim;
}

/** The layout of sequences of these lengths, one after another. */
export function packedLayout(g: GraphBuilder, sequences: Sequences): PackedLayout {
  const { lengths, rows, prefix } = sequences;
  const batch = lengths.dims[0]!;
  const offsets = derive(g, 'offsets', { dtype: 'int64', dims: [addDims(batch, 1)] }, [lengths], prefix);
  const layout: PackedLayout = {
    kind: 'packed',
    offsets,
    get positions() {
      return derive(g, 'positions', { dtype: 'int64', dims: [rows] }, [lengths], prefix);
    },
    get lengths() {
      return lengthsFrom(sequences);
    },
    maskFor: (keyOffsets) => documents(offsets, keyOffsets),
    withPrefix(x, first) {
      const count = first.dims[0]!;
      const longer = packedLayout(g, {
        lengths,
        rows: addDims(rows, mulDims(count, batch)),
        prefix: addDims(prefix, count),
      });
      const inFront = expand(unsqueeze(first, [0]), [batch, ...first.dims]);
      const all = concat([inFront, rowsOf(layout).pad(x)], 1);
      return { rows: rowsOf(longer).pack(all), layout: longer };
    },
    asPadded: (ctx) => paddedContext(g, ctx, layout),
  };
  sequencesOf.set(layout, sequences);
  return layout;
}
const sequencesOf = new WeakMap<PackedLayout, Sequences>();

interface Rows {
  /** [tokens, …] → [batch, longest, …] */
  pad(x: Value): Value;
  /** The inverse of pad. */
  pack(x: Value): Value;
  readonly longest: Dim;
}

function rowsOf(layout: PackedLayout): Rows {
  const { lengths, rows, prefix } = sequencesOf.get(layout)!;
  const places = tokenPlaces(lengths.graph.root, { lengths, prefix });
  return {
    pad: (x) =>
      x.rank === 1 ? withoutLast(padRows(unsqueeze(x, [1]), layout.offsets, places)) : padRows(x, layout.offsets, places),
    pack: (x) => (x.rank === 2 ? withoutLast(packRows(unsqueeze(x, [2]), places, rows)) : packRows(x, places, rows)),
    longest: places.dims[1]!,
  };
}
const withoutLast = (x: Value): Value => reshape(x, x.dims.slice(0, -1));

// Heads of packed tokens, [1, heads, tokens, head_dim], are padded and packed as rows.
const onHeads = (f: (rows: Value) => Value, x: Value, from: Layout, to: Layout): Value =>
  x.rank === 4 ? splitHeads(f(mergeHeads(x, from)), x.dims[1] as number, to) : f(x);

function paddedContext(g: GraphBuilder, ctx: SequenceContext, layout: PackedLayout): PaddedRows {
  const own = rowsOf(layout);
  const keys = ctx.keys?.layout ?? layout;
  const pad = (x: Value, of: Layout = layout): Value => (of.kind === 'packed' ? onHeads(rowsOf(of).pad, x, of, padded) : x);
  const state = ctx.state && paddedState(ctx.state);
  const { bias, memory } = ctx;
  if (bias && keys.kind === 'packed')
    throw new ConfigError({
      path: g.where,
      problem: 'an attention bias for pairs of packed tokens cannot be padded',
      expected: 'no attention bias',
      got: `[${bias.dims.join(', ')}]`,
      hint: "Compile with layout: 'padded', or choose a mechanism with masks of documents",
    });
  const batch = layout.lengths.dims[0]!;
  const counted = (): Value => {
    const places = reshape(iota(g, own.longest), [1, own.longest]);
    return state ? add(unsqueeze(state.pastLengths, [1]), places) : expand(places, [batch, own.longest]);
  };
  const { positionIds, tokenTypeIds, queryMask } = ctx;
  return {
    pad,
    pack: (x) => onHeads(own.pack, x, padded, layout),
    ctx: withContext(without(ctx, 'keys', 'bias', 'memory', 'positionIds', 'tokenTypeIds'), {
      layout: padded,
      lengths: layout.lengths,
      // With a cache, positions beyond a sequence are hidden by the cache.
      mask: keys.kind === 'packed' && !state ? and(keyLengths(keys.lengths), ctx.mask) : ctx.mask,
      ...(queryMask && { queryMask: and(keyLengths(layout.lengths), queryMask) }),
      get positions() {
        return positionIds ? own.pad(positionIds) : this.shared!.get(`padded positions of ${layout.offsets.id}`, counted);
      },
      ...(positionIds && { positionIds: own.pad(positionIds) }),
      ...(tokenTypeIds && { tokenTypeIds: own.pad(tokenTypeIds) }),
      ...(ctx.keys && { keys: keys.kind === 'packed' ? { layout: padded } : ctx.keys }),
      ...(bias && { bias: pad(bias) }),
      ...(memory && { memory: paddedMemory(memory) }),
      ...(state && { state }),
    }),
  };
}

function paddedMemory(memory: Memory): Memory {
  const { layout, hiddenStates, valueStates, mask } = memory;
  if (layout.kind === 'padded') return memory;
  const { pad } = rowsOf(layout);
  return {
    ...memory,
    hiddenStates: pad(hiddenStates),
    ...(valueStates && { valueStates: pad(valueStates) }),
    mask: and(keyLengths(layout.lengths), mask),
    layout: padded,
  };
}

// ---- State -----------------------------------------------------------------------------------------------------------------

const paddedStates = new WeakMap<State, State>();
const paddedState = (state: State): State => paddedStates.get(state) ?? state;

/** The number of positions that a packed call adds to each sequence of a cache: those of the longest. */
export const longestOf = (layout: PackedLayout): Dim => rowsOf(layout).longest;

/** A state for packed tokens: it keeps those of each sequence by itself, as a padded batch does. */
export function packedState(state: State, layout: PackedLayout): State {
  const { pad } = rowsOf(layout);
  const packed: State = {
    ...state,
    append: (name, rows) => state.append(name, onHeads(pad, rows, layout, padded)),
  };
  paddedStates.set(packed, state);
  return packed;
}

/** Positions of packed tokens that continue those of a state, int64 [tokens]. */
export function continuedPositions(g: GraphBuilder, layout: PackedLayout, state: State): Value {
  const { longest, pack } = rowsOf(layout);
  return pack(add(unsqueeze(state.pastLengths, [1]), reshape(iota(g, longest), [1, longest])));
}
