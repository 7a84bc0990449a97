// What lasts from one call to the next, and where it lives. Blocks cannot tell.
import type { Dim } from '../dim/dim';
import type { TensorType } from '../ir/define-op';
import type { Value } from '../ir/graph';
import type { KeyPlace } from './layout';

/** Keyed by the scope that uses it. */
export interface State {
  /** Where keys lie once they are appended. */
  readonly keys: KeyPlace;
  /** Rows that were there before this call, int64 [batch]: where positions go on. */
  readonly pastLengths: Value;
  /** [batch, kv_heads, seq, head_dim] → all rows so far. */
  append(name: string, rows: Value): Value;
  /** Values made in the first call only: a memory's keys and values, [batch, kv_heads, memory_rows, head_dim]. */
  cacheMemory<K extends string>(make: () => Record<K, Value>): Record<K, Value>;
  /** A recurrent state: what it was, what it becomes, and the result. `first` is its type; it starts as zeros. */
  updateRecurrent<T>(name: string, first: TensorType, step: (last: Value) => readonly [next: Value, result: T]): T;
}

/** Sizes of one call. */
export interface CallSizes {
  readonly batch: Dim;
  readonly seq: Dim;
}
