// A linear map with its parameters.
import type { Value } from '../ir/graph';
import { type Module, module } from '../module/module';
import { fanIn, type Init, type Role } from '../parameter/init';
import { Parameter } from '../parameter/parameter';

/** Options of {@link linear}. */
export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** Its role in the block; initialisation schemes, quantisation and LoRA select parameters by it. */
  readonly role?: Role;
  /** Default: uniform(±1/√from), weight and bias. */
  readonly init?: Init;
  readonly biasInit?: Init;
}

/**
 * A linear map on the last axis, with parameters `weight` [to, from] and `bias` [to].
 *
 *     y = x Wᵀ + b
 *
 * Shapes   x [..., from] → [..., to]
 * Dtypes   one float dtype
 * Throws   ShapeError (when called) when the last axis of x is not `from`
 * Lowers   everywhere: MatMul, Add, which rules of blocks can fuse
 * Example  const y = linear(512, 2048)(x);
 */
export function linear(from: number, to: number, o: LinearOptions = {}): Module<(x: Value) => Value> {
  const role = o.role !== undefined ? { role: o.role } : {};
  const weight = new Parameter([to, from], o.init ?? fanIn(from), { ...role, part: 'weight' });
  const bias = o.bias === false ? undefined : new Parameter([to], o.biasInit ?? fanIn(from), { ...role, part: 'bias' });
  return module({ weight, bias }, (x: Value) => x.graph.ops.linear(x, weight, bias));
}
