// The context of a model's sequences, from the inputs that are there.

import { addDims, type Dim, subDims } from '../dim/dim';
import { ConfigError } from '../error';
import { printType } from '../ir/define-op';
import type { GraphBuilder, Pool, Value } from '../ir/graph';
import { and } from '../mask/and';
import { dense } from '../mask/dense';
import { keyPadding } from '../mask/key-padding';
import { keyLengths } from '../mask/lengths';
import type { Mask } from '../mask/mask';
import { none } from '../mask/none';
import { cast } from '../ops/cast';
import { add, max, sub } from '../ops/elementwise';
import { expand, reshape, slice, unsqueeze } from '../ops/movement';
import { cumSum } from '../ops/scan';
import { gatherElements } from '../ops/select';
import { iota } from '../ops/shape';
import { type Memory, newShared, type SequenceContext } from './context';
import { derive } from './derive';
import { ioState } from './io-state';
import { type Layout, padded } from './layout';
import { pagedState } from './paged-state';
import { aboutRows } from './sequence-inputs';
import type { CallSizes, State } from './state';

/**
 * Where what lasts between calls lives: inputs and outputs that grow, or of fixed capacity (in positions); pools of blocks in the runtime's
 * memory; or a state of yours.
 */
export type StateOption =
  | 'io'
  | { readonly io: number }
  | { readonly paged: Pool }
  | ((g: GraphBuilder, call: CallSizes) => State);

/** What {@link contextOf} may be told beside the inputs. */
export interface SequenceInputs {
  readonly layout: 'padded' | 'packed';
  readonly state?: StateOption;
}

/**
 * Builds the context from inputs by name. Every one of them is optional:
 *
 * - `lengths` int64 [batch]: real rows of each sequence, the rest is padding on the right
 * - `attention_mask` int64, int32 or bool [batch, kv_seq]: 1 for keys that may be seen; positions are counted over them (padding on either side)
 * - `position_ids` int64 [batch, seq] or [tokens]: instead of counted positions
 * - `mask` bool [batch or 1, heads or 1, seq, kv_seq]: pairs that may be seen
 * - `bias` float [batch or 1, heads or 1, seq, kv_seq]: added to every score
 * - `memory` [batch, memory_seq, dim] with `memory_lengths` [batch] or `memory_mask` [batch, memory_seq]
 *
 * A state brings inputs of its own, which are not declared: `past_lengths` int64 [batch], the rows already in its caches, is one.
 *
 * Throws   ConfigError for a packed layout without `lengths` or with masks of padded rows, and for `lengths` beside a growing cache
 */
export function contextOf(g: GraphBuilder, inputs: Readonly<Record<string, Value>>, o: SequenceInputs): SequenceContext {
  if (o.layout === 'packed') return packedContext(g, inputs, o);
  const given = Object.entries(inputs).filter(([name]) => !aboutRows.has(name));
  const rows = (given.find(([, v]) => v.rank >= 2) ?? given[0] ?? Object.entries(inputs)[0])?.[1];
  if (!rows) throw new ConfigError({ path: 'inputs', problem: 'a model needs at least one input' });
  const batch = rows.dims[0] ?? 1;
  const seq = rows.rank === 4 ? rows.dims[2]! : (rows.dims[1] ?? 1);
  const { lengths } = inputs;
  if (lengths && o.state === 'io')
    throw new ConfigError({
      path: 'inputs.lengths',
      problem: 'a growing cache takes as many rows of each sequence, and would keep those behind its length',
      expected: 'a cache of fixed capacity (state: { io: rows }), or an attention_mask over all of its rows',
      got: "state: 'io'",
    });
  const state = o.state === undefined ? undefined : stateOf(g, o.state, { batch, seq });
  const keep = inputs.attention_mask && boolean(inputs.attention_mask);
  const masks: Mask<Value>[] = [];
  // With a cache, rows beyond a sequence's own are hidden by their place; lengths speak of this call only.
  if (lengths && !state) masks.push(keyLengths(lengths));
  if (keep) masks.push(keyPadding(keep));
  if (inputs.mask) masks.push(dense(boolean(inputs.mask)));
  const memory = memoryOf(inputs, padded);
  const positions = (): Value => {
    if (inputs.position_ids) return inputs.position_ids;
    if (keep) return countedPositions(keep, seq, state?.keys.queryOffset);
    const counted = reshape(iota(g, seq), [1, seq]);
    return state ? add(unsqueeze(state.pastLengths, [1]), counted) : expand(counted, [batch, seq]);
  };
  return {
    mask: and(...masks),
    get positions() {
      return this.shared.get('positions', positions);
    },
    layout: padded,
    shared: newShared(),
    ...(lengths && { lengths }),
    ...(state && { state }),
    ...(inputs.bias && { bias: inputs.bias }),
    ...(memory && { memory }),
  };
}

function packedContext(g: GraphBuilder, inputs: Readonly<Record<string, Value>>, o: SequenceInputs): SequenceContext {
  const { lengths } = inputs;
  if (!lengths)
    throw new ConfigError({
      path: 'inputs',
      problem: 'a packed layout needs the lengths of its sequences',
      expected: "lengths: ['int64', ['batch']]",
      got: Object.keys(inputs).join(', '),
    });
  if (o.state !== undefined)
    throw new ConfigError({
      path: 'state',
      problem: 'a packed layout keeps no state',
      hint: "Use layout: 'padded'",
    });
  const padding = ['attention_mask', 'mask', 'memory_mask'].find((name) => inputs[name]);
  if (padding)
    throw new ConfigError({
      path: `inputs.${padding}`,
      problem: 'packed rows have no padding to mask',
      expected: 'lengths, and masks that the blocks themselves make',
      got: printType(inputs[padding]!),
      hint: "Compile with layout: 'padded', or leave it out",
    });
  const rows = Object.entries(inputs).find(([name]) => !aboutRows.has(name))?.[1];
  if (!rows)
    throw new ConfigError({
      path: 'inputs',
      problem: 'a packed layout without rows',
      expected: "rows beside the lengths, such as ids: ['int64', ['tokens']]",
      got: Object.keys(inputs).join(', '),
    });
  const layout = packedLayout(g, lengths, rows.dims[0]!);
  const { memory: memoryRows, memory_lengths: memoryLengths } = inputs;
  if (memoryRows && !memoryLengths)
    throw new ConfigError({
      path: 'inputs',
      problem: 'a packed memory needs the lengths of its sequences',
      expected: "memory_lengths: ['int64', ['batch']]",
      got: Object.keys(inputs).join(', '),
    });
  const memory: Memory | undefined = memoryRows && {
    rows: memoryRows,
    mask: none,
    layout: packedLayout(g, memoryLengths!, memoryRows.dims[0]!),
  };
  return {
    mask: none,
    get positions() {
      return inputs.position_ids ?? layout.positions;
    },
    layout,
    lengths,
    shared: newShared(),
    ...(inputs.bias && { bias: inputs.bias }),
    ...(memory && { memory }),
  };
}

// Sequences of these lengths, one after another in so many rows.
function packedLayout(g: GraphBuilder, lengths: Value, rows: Dim): PackedLayout {
  return {
    kind: 'packed',
    offsets: derive(g, 'offsets', { dtype: 'int64', dims: [addDims(lengths.dims[0]!, 1)] }, [lengths], rows),
    longest: derive(g, 'longest', { dtype: 'int64', dims: [] }, [lengths]),
    get positions() {
      return derive(g, 'positions', { dtype: 'int64', dims: [rows] }, [lengths]);
    },
  };
}
type PackedLayout = Extract<Layout, { kind: 'packed' }>;

function memoryOf(inputs: Readonly<Record<string, Value>>, layout: Layout): Memory | undefined {
  const { memory: rows, memory_lengths: lengths, memory_mask: keep } = inputs;
  if (!rows) return undefined;
  const masks: Mask<Value>[] = [];
  if (lengths) masks.push(keyLengths(lengths));
  if (keep) masks.push(keyPadding(boolean(keep)));
  return { rows, mask: and(...masks), layout };
}

function stateOf(g: GraphBuilder, option: StateOption, call: CallSizes): State {
  if (typeof option === 'function') return option(g, call);
  if (typeof option === 'object' && 'paged' in option) return pagedState(g, call, option.paged);
  return ioState(g, call, option === 'io' ? undefined : option.io);
}

const boolean = (v: Value): Value => (v.dtype === 'bool' ? v : cast(v, 'bool'));

// Positions of the keys of this call, counted over those that may be seen; padding on the left stands at 0. They are the last `seq` of all, or,
// in a cache of fixed capacity, those from `start` on.
function countedPositions(keep: Value, seq: Dim, queryOffset: Value | undefined): Value {
  const all = max(sub(cumSum(cast(keep, 'int64'), 1), 1), 0);
  if (queryOffset) return gatherElements(all, add(unsqueeze(queryOffset, [1]), reshape(iota(keep.graph.root, seq), [1, seq])), 1);
  const total = keep.dims[1]!;
  return total === seq ? all : slice(all, { axes: [1], starts: [subDims(total, seq)], ends: [total] });
}
