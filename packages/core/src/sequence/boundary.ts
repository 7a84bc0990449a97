// What goes in and out of a graph: no JavaScript runtime supports bfloat16, and float32 holds it exactly.
import type { Dim } from '../dim/dim';
import type { GraphBuilder, InputRole, Value } from '../ir/graph';
import { cast } from '../ops/cast';
import type { DType } from '../tensor/tensor';

/** The dtype in which numbers of another one are fed and handed out. */
export const carriedDType = (dtype: DType): DType => (dtype === 'bfloat16' ? 'float32' : dtype);

/** An output as it can leave the graph. */
export const carried = (v: Value): Value => cast(v, carriedDType(v.dtype));

/** An input of the dtype that is wanted inside, fed as it can be carried. */
export const received = (g: GraphBuilder, name: string, dtype: DType, dims: readonly Dim[], role: InputRole): Value =>
  cast(g.input(name, carriedDType(dtype), dims, role), dtype);
