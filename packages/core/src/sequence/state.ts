// State from one call to the next. Blocks do not depend on where it is kept.
import type { Dim } from '../dim/dim';
import type { TensorType } from '../ir/define-op';
import type { Value } from '../ir/graph';
import type { KeyPositions } from './layout';

/** Keyed by the scope that uses it. */
export interface State {
  /** Position and storage of the keys after the append. */
  readonly keys: KeyPositions;
  /** Positions before this call, int64 [batch]: positions continue from there. */
  readonly pastLengths: Value;
  /** Appends to a KV cache: [batch, kv_heads, seq, head_dim] → all positions so far. */
  append(name: string, rows: Value): Value;
  /** Values computed in the first call only: a memory's keys and values, [batch, kv_heads, past_memory, head_dim]. */
  cacheMemory<K extends string>(make: () => Record<K, Value>): Record<K, Value>;
  /** A recurrent state: `step` maps the previous state to the next one and a result. `first` is its type; its initial values are zeros. */
  updateRecurrent<T>(name: string, first: TensorType, step: (last: Value) => readonly [next: Value, result: T]): T;
}

/** Sizes of one call. */
export interface CallSizes {
  readonly batch: Dim;
  readonly seq: Dim;
}
