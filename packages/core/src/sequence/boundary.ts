// Inputs and outputs of a graph: no JavaScript runtime supports bfloat16, and float32 represents it exactly.
import type { Dim } from '../dim/dim';
import type { GraphBuilder, InputRole, Value } from '../ir/graph';
import { cast } from '../ops/cast';
import type { DType } from '../tensor/tensor';

/** The dtype of inputs and outputs for numbers of a dtype: float32 for bfloat16. */
export const carriedDType = (dtype: DType): DType => (dtype === 'bfloat16' ? 'float32' : dtype);

/** An output in a dtype that a runtime supports. */
export const carried = (v: Value): Value => cast(v, carriedDType(v.dtype));

/** An input that is fed in a dtype that a runtime supports, and cast to the requested one. */
export const received = (g: GraphBuilder, name: string, dtype: DType, dims: readonly Dim[], role: InputRole): Value =>
  cast(g.input(name, carriedDType(dtype), dims, role), dtype);
