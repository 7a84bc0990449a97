// The sequence context: mask, positions, layout, memory, state between calls. One object, passed down.

import { ConfigError, internal, ShapeError } from '../error';
import { aFunction, aMask, anObject, given } from '../given';
import { type GraphBuilder, usable, type Value } from '../ir/graph';
import { and } from '../mask/and';
import { impliedBy } from '../mask/features';
import { comparesPositions, conjuncts, type Mask, mayHaveGaps, measuresDistance, printMask } from '../mask/mask';
import { attendOp, attendWithWeights } from '../ops/attend';
import type { ScoreMod, WeightMod } from '../ops/attend-options';
import { limitLengths } from './limits';
import type { Memory, SequenceContext, Shared } from './types';

export type { Memory, SequenceContext, Shared };

/** Options of one attention call. */
export interface AttendOptions {
  /** Default 1 / √head_dim. */
  readonly scale?: number;
  /** c · tanh(score / c) before masking. */
  readonly softcap?: number;
  /** A function of the scores, after softcap and bias; made by {@link scoreMod}. */
  readonly scoreMod?: ScoreMod;
  /** A function of the weights, before dropout; made by {@link weightMod}. */
  readonly weightMod?: WeightMod;
  /** Attention sink: one more logit [heads] in each softmax, whose share of the weights has no value. */
  readonly sinks?: Value;
  /** Probability of dropping a weight, in training. */
  readonly dropout?: number;
}

/**
 * Attention with the context's mask, bias, layout and keys.
 *
 *     y = softmax(mask(softcap(scale · q kᵀ) + bias)) v
 *
 * The weights of the softmax are a tap of the module that calls it, named `weights`: `taps: ['layers.0.mixer.attention.weights']` makes them an output.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, …] → [batch, heads, seq, v_head_dim]; packed: batch 1, seq = tokens
 * Dtypes   one float dtype; scores and softmax of 16-bit floats in float32
 * Throws   ShapeError when q and k differ in head_dim, or kv_heads does not divide heads · ConfigError for a causal mask or a window on the keys of
 *          a memory, whose positions are not those of the queries, and for a window if padding may be between prefix tokens and the others
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   portable: primitives · cpu, wasm: GroupQueryAttention, MultiHeadAttention, Attention · webgpu: GroupQueryAttention,
 *          MultiHeadAttention · cuda: PagedAttention, PackedMultiHeadAttention, GroupQueryAttention, MultiHeadAttention, Attention
 * Example  const y = attend(q, k, v, { mask: causal });
 */
export function attend(
  q: Value,
  k: Value,
  v: Value,
  ctx: Pick<SequenceContext, 'mask'> & Partial<SequenceContext>,
  o: AttendOptions = {},
): Value {
  given('attend', { q, k, v, ctx, options: o }, { ctx: anObject, options: anObject });
  if (ctx.layout?.kind === 'packed' && ctx.keys?.layout.kind === 'padded') {
    const rows = ctx.layout.asPadded(ctx as SequenceContext);
    return rows.pack(attend(rows.pad(q), k, v, rows.ctx, o));
  }
  const queryOffset = ctx.keys?.queryOffset;
  checkPairs(q, k, ctx, [o.scoreMod, o.weightMod]);
  const { dropout: probability = 0, ...rest } = o;
  const g = q.graph.root;
  const noise =
    g.training && probability > 0
      ? g.draw('attention_dropout', [q.dims[0]!, q.dims[1]!, q.dims[2]!, k.dims[2]!], 'uniform')
      : undefined;
  const options = {
    mask: maskOf(ctx),
    ...(queryOffset && { queryOffset }),
    ...(ctx.bias && { bias: ctx.bias }),
    ...(noise && { dropout: { probability, noise } }),
    ...rest,
  };
  const path = g.where ? `${g.where}.${weightsTap}` : weightsTap;
  if (!g.taps.offer(path, g.innermost === g)) return attendOp(q, k, v, options);
  const { y, weights } = attendWithWeights(q, k, v, options);
  g.taps.keep(path, weights.graph === g ? weights : undefined);
  return y;
}
/** The name of the attention weights for `taps`. */
const weightsTap = 'weights';

/** True in cross attention: the keys are those of a memory, and their positions are not comparable with those of the queries. */
export const attendsToMemory = (ctx: Partial<SequenceContext>): boolean => {
  given('attendsToMemory', { ctx }, { ctx: anObject });
  return ctx.queryMask !== undefined;
};

/**
 * Checks the pairs of queries and keys of an attention, and limits the lengths of its keys.
 *
 * @throws ConfigError for positions that cannot be compared, and for distances that are not known
 */
export function checkPairs(
  q: Value,
  k: Value,
  ctx: Pick<SequenceContext, 'mask'> & Partial<SequenceContext>,
  mods: readonly (ScoreMod | WeightMod | undefined)[] = [],
): void {
  limitSizes(k, ctx.mask);
  refuseOrder(ctx, mods, q.graph.where);
  if (measuresDistance(ctx.mask) || mods.some((mod) => mod?.measuresDistance)) refuseGaps(ctx.mask, q.graph.where);
}

// Masks that compare positions are not defined between two sequences.
function refuseOrder(
  ctx: Pick<SequenceContext, 'mask'> & Partial<SequenceContext>,
  mods: readonly (ScoreMod | WeightMod | undefined)[],
  path: string,
): void {
  const byMod = mods.some((mod) => mod?.comparesPositions);
  if (attendsToMemory(ctx) && (byMod || comparesPositions(ctx.mask)))
    throw new ConfigError({
      path,
      problem: 'positions of queries and of a memory cannot be compared',
      expected: 'only padding masks and dense masks in cross attention',
      got: byMod ? 'a function of the position of the query' : printMask(ctx.mask),
      hint: 'Remove causal and window from the mechanism, or pass a dense mask of the pairs that may attend',
    });
}

/**
 * Refuses padding between real tokens, for mechanisms in which a result depends on how far apart positions are.
 *
 * Throws   ConfigError for a padding mask to which prefix tokens were added: its padding may be on the left, between them and the other tokens
 */
export function refuseGaps(mask: Mask<unknown>, path: string): void {
  given('refuseGaps', { mask }, { mask: aMask });
  if (!mayHaveGaps(mask)) return;
  throw new ConfigError({
    path,
    problem: 'distances between positions are not known: padding may be between the prefix tokens and the other tokens',
    expected: 'padding on the right, given as lengths',
    got: printMask(mask),
    hint: 'Use lengths instead of a padding mask, or a mechanism without a window and a convolution',
  });
}

// Kernels do not check lengths.
function limitSizes(k: Value, mask: Mask<Value>): void {
  for (const part of conjuncts(mask)) {
    const { lengths } = impliedBy(part);
    if (lengths) limitLengths(lengths, k.dims[2]!);
  }
}

/** The mask, combined with that of the layout: packed tokens attend to their own sequence only. */
export function maskOf(ctx: Pick<SequenceContext, 'mask'> & Partial<SequenceContext>): Mask<Value> {
  given('maskOf', { ctx }, { ctx: anObject });
  if (ctx.layout?.kind !== 'packed') return ctx.mask;
  const keys = ctx.keys?.layout ?? ctx.layout;
  if (keys.kind !== 'packed') throw internal('packed queries require packed keys');
  return and(ctx.layout.maskFor(keys.offsets), ctx.mask);
}

/**
 * Self attention: appends k and v to the KV cache, or returns them unchanged without a state. The third result is the context for these keys.
 *
 * Shapes   k, v [batch, kv_heads, seq, head_dim] → [batch, kv_heads, kv_seq, head_dim], where kv_seq includes the cached positions
 * Throws   ShapeError when they do not match the cache
 * Lowers   everywhere: the append of the state, often a part of the attention's kernel
 * Example  const [keys, values, at] = updateCache(ctx, k, v);
 *            const y = attend(q, keys, values, at);
 */
export function updateCache(ctx: SequenceContext, k: Value, v: Value): readonly [Value, Value, SequenceContext] {
  given('updateCache', { ctx, k, v }, { ctx: anObject });
  const { state } = ctx;
  if (!state) return [k, v, ctx];
  const [allKeys, allValues] = [state.append('key', k), state.append('value', v)];
  return [allKeys, allValues, withContext(ctx, { keys: state.keys })];
}

/**
 * Cross attention: keys and values of the memory, computed once if there is a state. The third result is the context for these keys.
 *
 * Shapes   memory [batch, memory_seq, memory_dim] → the result of `make`: keys and values [batch, kv_heads, memory_seq, head_dim]
 * Throws   ShapeError when the context has no memory
 * Lowers   everywhere: the ops of `make`; with a state Concat with the cached keys and values
 */
export function crossAttentionKeyValues(
  ctx: SequenceContext,
  make: (memory: Memory) => readonly [Value, Value],
): readonly [Value, Value, SequenceContext] {
  given('crossAttentionKeyValues', { ctx, make }, { ctx: anObject, make: aFunction });
  const { memory, state } = ctx;
  if (!memory)
    throw new ShapeError({
      path: '',
      problem: 'cross attention without a memory',
      hint: 'Add an encoder to the model, or declare the input "memory"',
    });
  const both = () => {
    const [key, value] = make(memory);
    return { key, value };
  };
  const { key, value } = state ? state.cacheMemory(both) : both();
  // No query offset: every position of a memory exists, and its mask marks the real ones.
  const there = {
    mask: memory.mask,
    ...(!memory.sameSequence && { queryMask: ctx.mask }),
    keys: { layout: memory.layout },
    ...(memory.bias && { bias: memory.bias }),
  };
  // The attention bias of a context applies to its own positions, not to those of a memory.
  return [key, value, withContext(without(ctx, 'bias'), there)];
}

/** The same context without some entries. */
export function without(ctx: SequenceContext, ...names: readonly (keyof SequenceContext)[]): SequenceContext {
  const descriptors = Object.entries(Object.getOwnPropertyDescriptors(ctx));
  const others = Object.fromEntries(descriptors.filter(([name]) => !names.includes(name as keyof SequenceContext)));
  return Object.defineProperties({}, others) as SequenceContext;
}

/** The same context with some entries changed. Lazy entries (positions) stay lazy, which a spread would not do. */
export function withContext(ctx: SequenceContext, changes: Partial<SequenceContext>): SequenceContext {
  given('withContext', { ctx, changes }, { ctx: anObject, changes: anObject });
  return Object.defineProperties(
    {},
    { ...Object.getOwnPropertyDescriptors(ctx), ...Object.getOwnPropertyDescriptors(changes) },
  ) as SequenceContext;
}

/** Whichever block asks first for a shared value, it is nobody's: the rules of that block do not decide what the value becomes. */
const ofNoBlock = { rules: [], history: [] };

/** An empty `shared` for a context. */
export function newShared(g: GraphBuilder): Shared {
  const made = new Map<string, unknown>();
  return {
    get<T>(key: string, make: () => T): T {
      if (!made.has(key) || !usable(made.get(key))) made.set(key, g.at(g.root.where, make, ofNoBlock));
      return made.get(key) as T;
    },
  };
}
