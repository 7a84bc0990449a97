// The sequence context of a model, from its inputs.

import { checkArguments } from '../arguments';
import { addDims, type Dim, namesOfDim } from '../dim/dim';
import { ConfigError } from '../error';
import { printType } from '../ir/define-op';
import { type GraphBuilder, inputOf, nameOf, type Pool, type Value } from '../ir/graph';
import { and } from '../mask/and';
import { dense } from '../mask/dense';
import { keyPadding } from '../mask/key-padding';
import { keyLengths } from '../mask/lengths';
import type { Mask } from '../mask/mask';
import { none } from '../mask/none';
import { cast } from '../ops/cast';
import { greater, where } from '../ops/comparison';
import { add, max, sub } from '../ops/elementwise';
import { expand, reshape, unsqueeze } from '../ops/movement';
import { cumSum } from '../ops/scan';
import { iota } from '../ops/shape';
import type { DType } from '../tensor/tensor';
import { type Memory, newShared, type SequenceContext } from './context';
import { type Inputs, type InputsByRole, inputsByRole } from './inputs';
import { ioState, limitPast, memoryDim, pastDim } from './io-state';
import { type Layout, type PackedLayout, padded } from './layout';
import { limitLengths, limitPackedLengths } from './limits';
import { continuedPositions, longestOf, packedLayout, packedState } from './packed';
import { clearPadding, finitePadding, ofThisCall, type Padding } from './padding';
import { pagedState, tableDim } from './paged-state';
import { fromFirstReal, refuseStarts } from './real-positions';
import type { CallSizes, State } from './types';

/**
 * Where the state between calls (KV caches, recurrent states) is kept: growing inputs and outputs, or inputs and outputs of fixed capacity
 * (in positions); a paged cache in the runtime's memory; or the user's own state.
 */
export type StateOption =
  | 'io'
  | { readonly io: number }
  | { readonly paged: Pool }
  | ((g: GraphBuilder, call: CallSizes) => State);

/** The context of a model, with the inputs that its blocks read. */
export type ModelContext = SequenceContext & { readonly inputs: Inputs };

/** Options of {@link contextOf}. */
export interface SequenceInputs {
  readonly layout: 'padded' | 'packed';
  readonly state?: StateOption;
}

/**
 * Builds the context of a model's sequences from its inputs, by their roles (see `InputRole`). These names have a role by default:
 *
 * - `ids`, `x`, `q`: the sequences that attend, [batch, seq, …], packed [tokens, …]
 * - `k`, `v` [batch, kv_heads, kv_seq, head_dim], keys and values of heads
 * - `lengths` int64 [batch]: real positions of each sequence, the rest is padding on the right
 * - `attention_mask` bool, int64 or int32 [batch, kv_seq]: 0 for padding, on either side; positions are counted over the others.
 *   bool [batch or 1, heads or 1, seq or 1, kv_seq]: pairs that may attend
 * - `attention_bias` float [batch or 1, heads or 1, seq, kv_seq]: added to every score
 * - `position_ids` int64 [batch, seq] or [tokens]: instead of counted positions
 * - `memory` [batch, memory_seq, dim] with `memory_lengths` [batch] or `memory_mask` [batch, memory_seq], with a state [batch, past_memory + memory_seq]
 *
 * Inputs of other names are the sequence if no input has one of these names. The order of inputs never matters. A state adds its own inputs, which
 * are not declared, such as `past_lengths` int64 [batch], the positions already in its caches.
 *
 * The `inputs` of the context are what blocks read. Sequences, keys, values and memories of floats are 0 there in positions that lengths or a padding mask [batch, kv_seq]
 * declare as padding, whatever the feeds contain, NaN and infinities too. Positions that only a mask of pairs hides are read as they are, and so they all are on the assumption
 * 'finite padding'.
 *
 * Throws   ConfigError for a dtype or rank that a role does not accept, for inputs called `mask` or `bias` without a role, for a packed layout
 *          without `lengths` or with padding masks, and for `lengths` with a growing cache
 */
export function contextOf(g: GraphBuilder, inputs: Inputs, o: SequenceInputs): ModelContext {
  checkArguments('contextOf', { builder: g, inputs, options: o });
  const roles = inputsByRole(g, inputs, o.layout);
  if (o.layout === 'packed') return packedContext(g, inputs, roles, o);
  const { of } = roles;
  const lengths = of.lengths?.value;
  if (lengths && o.state === 'io')
    throw new ConfigError({
      path: `inputs.${of.lengths!.name}`,
      problem: 'a growing cache appends the same number of tokens to every sequence, so it would keep the padding',
      expected: 'a cache of fixed capacity (state: { io: capacity }), or an attention_mask over all cached and new positions',
      got: "state: 'io'",
    });
  const sizes = once(() => {
    const found = roles.sizes();
    if (lengths) limitLengths(lengths, found.seq);
    return found;
  });
  if (roles.certain || o.state !== undefined) sizes();
  if (o.state !== undefined) checkReserved(g, o.state);
  const state = o.state === undefined ? undefined : stateOf(g, o.state, sizes());
  const padding = of.keyPadding && boolean(of.keyPadding.value);
  const additive = of.additiveMask && additiveMask(g, of.additiveMask.value, () => sizes().seq);
  const masks: Mask<Value>[] = [];
  // With a cache, positions beyond a sequence are hidden by the cache; lengths describe this call only.
  if (lengths && !state) masks.push(keyLengths(lengths));
  if (padding) masks.push(keyPadding(padding));
  if (of.denseMask) masks.push(dense(of.denseMask.value));
  if (additive) masks.push(additive.mask);
  const biases = [...(of.attentionBias ? [of.attentionBias.value] : []), ...(additive ? [additive.bias] : [])];
  if (state && typeof o.state !== 'function') checkMemoryMask(roles);
  const read = withoutPadding(g, inputs, roles, {
    lengths,
    keep: [padding, additive?.keys].filter((v) => v !== undefined),
    continues: state !== undefined,
    queryOffset: state?.keys.queryOffset,
  });
  const memory = memoryOf(roles, read, padded);
  const positions = (): Value => {
    if (of.positionIds) return of.positionIds.value;
    const { batch, seq } = sizes();
    const keep = padding ?? additive?.keys;
    if (keep) return countedPositions(keep, seq, state?.keys.queryOffset);
    const counted = reshape(iota(g, seq), [1, seq]);
    if (!state) return expand(counted, [batch, seq]);
    return add(unsqueeze(state.pastLengths, [1]), counted);
  };
  return {
    mask: and(...masks),
    get positions() {
      const counted = this.shared.get('positions', positions);
      return of.positionIds ? counted : fromFirstReal(counted, this);
    },
    layout: padded,
    shared: newShared(g),
    inputs: read,
    ...(of.positionIds && { positionIds: of.positionIds.value }),
    ...(of.tokenTypeIds && { tokenTypeIds: of.tokenTypeIds.value }),
    ...(lengths && { lengths }),
    ...(state && { state }),
    ...(biases.length && { bias: biases.reduce((a, b) => add(a, b)) }),
    ...(memory && { memory }),
  };
}

function packedContext(g: GraphBuilder, inputs: Inputs, roles: InputsByRole, o: SequenceInputs): ModelContext {
  const { of } = roles;
  const lengths = of.lengths?.value;
  if (!lengths)
    throw new ConfigError({
      path: 'inputs',
      problem: 'a packed layout requires the lengths of its sequences',
      expected: "lengths: ['int64', ['batch']]",
      got: Object.keys(inputs).join(', '),
    });
  const padding = of.keyPadding ?? of.denseMask ?? of.additiveMask ?? of.memoryKeyPadding;
  if (padding)
    throw new ConfigError({
      path: `inputs.${padding.name}`,
      problem: 'a packed batch has no padding to mask',
      expected: 'lengths, and masks that the blocks create',
      got: printType(padding.value),
      hint: "Compile with layout: 'padded', or omit the option",
    });
  const layout = packedRows(g, lengths, roles.sizes().seq);
  const { memory: memoryRows, memoryLengths } = of;
  if (memoryRows && !memoryLengths)
    throw new ConfigError({
      path: 'inputs',
      problem: 'a packed memory requires the lengths of its sequences',
      expected: "memory_lengths: ['int64', ['batch']]",
      got: Object.keys(inputs).join(', '),
    });
  const memory: Memory | undefined = memoryRows && {
    hiddenStates: memoryRows.value,
    mask: none,
    layout: packedRows(g, memoryLengths!.value, memoryRows.value.dims[0]!),
  };
  if (memory && o.state !== undefined)
    throw new ConfigError({
      path: 'state',
      problem: 'a state cannot keep the keys of a packed memory',
      expected: 'a padded batch, or no state',
      got: printType(memory.hiddenStates),
      hint: "Compile with layout: 'padded'",
    });
  const state = o.state === undefined ? undefined : packedStateOf(g, o.state, layout);
  return {
    mask: none,
    get positions() {
      if (of.positionIds) return of.positionIds.value;
      refuseStarts(this.mask, g);
      return state ? this.shared.get('positions', () => continuedPositions(g, layout, state)) : layout.positions;
    },
    layout,
    lengths,
    ...(state && { state }),
    shared: newShared(g),
    inputs,
    ...(of.positionIds && { positionIds: of.positionIds.value }),
    ...(of.tokenTypeIds && { tokenTypeIds: of.tokenTypeIds.value }),
    ...(of.attentionBias && { bias: of.attentionBias.value }),
    ...(memory && { memory }),
  };
}

function packedRows(g: GraphBuilder, lengths: Value, rows: Dim): PackedLayout {
  limitPackedLengths(lengths, rows);
  return packedLayout(g, { lengths, rows, prefix: 0 });
}

function packedStateOf(g: GraphBuilder, option: StateOption, layout: PackedLayout): State {
  if (option === 'io')
    throw new ConfigError({
      path: 'state',
      problem: 'a growing cache appends the same number of tokens to every sequence, so it would keep padding',
      expected: 'a cache of fixed capacity (state: { io: capacity }), or a paged one',
      got: "state: 'io'",
    });
  checkReserved(g, option);
  return packedState(stateOf(g, option, { batch: layout.lengths.dims[0]!, seq: longestOf(layout) }), layout);
}

// A state keeps the keys of a memory, and no mask of them.
function checkMemoryMask({ of }: InputsByRole): void {
  const { memory, memoryKeyPadding: given } = of;
  if (!memory || !given) return;
  const [batch, memorySeq] = memory.value.dims as readonly [Dim, Dim];
  const rows = addDims(memoryDim, memorySeq);
  if (given.value.dims[1] === rows) return;
  throw new ConfigError({
    path: `inputs.${given.name}`,
    problem: 'with a state it masks the cached positions of the memory and those of the call',
    expected: `[${batch}, ${rows}]`,
    got: printType(given.value),
    hint: 'Feed the same mask in every call; in calls after the first the memory is empty and all its positions are cached',
  });
}

// The inputs as blocks read them.
function withoutPadding(g: GraphBuilder, inputs: Inputs, roles: InputsByRole, own: Padding): Inputs {
  const { memoryLengths, memoryKeyPadding } = roles.of;
  const ofMemory = {
    lengths: memoryLengths?.value,
    keep: memoryKeyPadding ? [boolean(memoryKeyPadding.value)] : [],
    continues: own.continues,
    queryOffset: undefined,
  };
  const padded = [own, ofMemory].some(({ lengths, keep }) => lengths || keep.length);
  if (!padded) return inputs;
  // Their roles are noted in any case, for the runner's check of the assumption.
  const positioned = roles.positioned();
  if (g.root.assumptions.has(finitePadding)) return inputs;
  const cleared = positioned.map(({ name, value, axis, ofMemory: isMemory }) => {
    return [name, clearPadding(name, value, axis, isMemory ? ofMemory : own)] as const;
  });
  return Object.fromEntries([...Object.entries(inputs), ...cleared]);
}

function memoryOf({ of }: InputsByRole, read: Inputs, layout: Layout): Memory | undefined {
  if (!of.memory) return undefined;
  const masks: Mask<Value>[] = [];
  if (of.memoryLengths) masks.push(keyLengths(of.memoryLengths.value));
  if (of.memoryKeyPadding) masks.push(keyPadding(boolean(of.memoryKeyPadding.value)));
  return { hiddenStates: read[of.memory.name]!, mask: and(...masks), layout };
}

// The mask and the bias of an additive mask. Libraries use the lowest number of the dtype, or −∞, for a hidden key.
function additiveMask(
  g: GraphBuilder,
  x: Value,
  seq: () => Dim,
): { readonly mask: Mask<Value>; readonly bias: Value; readonly keys?: Value } {
  const name = inputOf(x)?.name;
  const declared = g.root.inputs.find((v) => name !== undefined && nameOf(v) === name)?.dtype ?? x.dtype;
  const keep = greater(x, lowestOf(declared) / 2);
  const bias = where(keep, x, 0);
  if (x.rank === 2) {
    const [batch, kvSeq] = x.dims as [Dim, Dim];
    return {
      mask: keyPadding(keep),
      bias: expand(reshape(bias, [batch, 1, 1, kvSeq]), [batch, 1, seq(), kvSeq]),
      keys: keep,
    };
  }
  const [batch, heads, rows, kvSeq] = x.dims as [Dim, Dim, Dim, Dim];
  return { mask: dense(keep), bias: rows === 1 ? expand(bias, [batch, heads, seq(), kvSeq]) : bias };
}
const lowestOf = (dtype: DType): number => (dtype === 'float16' ? -65504 : -3.3e38);

// Sizes and inputs that a state adds. Inputs over keys may use these size names; in any other input the name would be a different size.
function checkReserved(g: GraphBuilder, option: StateOption): void {
  const paged = typeof option === 'object' && 'paged' in option;
  const reserved: Readonly<Record<string, string>> = {
    ...(option === 'io' && { [pastDim]: 'the number of positions in a growing cache' }),
    ...(typeof option !== 'function' && { [memoryDim]: 'the length of a memory that a state keeps' }),
    ...(paged && { [tableDim]: 'the number of blocks in a row of the block table' }),
  };
  for (const v of g.root.inputs) {
    const [name, role] = [nameOf(v)!, g.root.roles.get(nameOf(v)!)];
    const path = `inputs.${name}`;
    if (typeof option !== 'function' && name.startsWith('past_key_values.'))
      throw new ConfigError({ path, problem: 'the state adds inputs of this name', hint: 'Rename it' });
    if (role !== 'sequence' && role !== 'memory' && role !== 'lengths' && role !== 'positionIds') continue;
    const taken = v.dims.flatMap(namesOfDim).find((size) => Object.hasOwn(reserved, size));
    if (taken !== undefined)
      throw new ConfigError({
        path,
        problem: `the size name "${taken}" is reserved`,
        expected: `another name, because this one is ${reserved[taken]}`,
        got: printType(v),
      });
  }
}

function stateOf(g: GraphBuilder, option: StateOption, call: CallSizes): State {
  if (typeof option === 'function') return option(g, call);
  if (typeof option === 'object' && 'paged' in option) return pagedState(g, call, option.paged);
  const capacity = option === 'io' ? undefined : option.io;
  limitPast(g, call.seq, capacity);
  return ioState(g, call, capacity);
}

// Integers as tokenizers make them: 1 for a real position, 0 for padding. Any other number is a mistake, such as lengths, ids or an additive mask.
function boolean(v: Value): Value {
  if (v.dtype === 'bool') return v;
  const input = inputOf(v)?.name;
  if (input !== undefined) {
    const hint = 'A padding mask has 1 at real positions and 0 at padding';
    v.graph.root.limit({ input, min: 0, max: 1, problem: 'neither 0 nor 1 in a padding mask', hint });
  }
  return cast(v, 'bool');
}

// Positions of the keys of this call, counted over real keys; padding on the left has position 0.
function countedPositions(keep: Value, seq: Dim, queryOffset: Value | undefined): Value {
  const all = max(sub(cumSum(cast(keep, 'int64'), 1), 1), 0);
  return ofThisCall(all, seq, queryOffset);
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
