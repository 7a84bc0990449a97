// Sample applications of the ops of activation.ts.
import type { Operand, Value } from '../ir/graph';
import type { CaseInput, OpCase } from '../testing/op-suite';
import * as ops from './activation';

const x = (dims: CaseInput['dims'], rest: Partial<CaseInput> = {}): CaseInput => ({ dtype: 'float32', dims, ...rest });
// Constants of an op's definition are rounded to the dtype.
const single = { rtol: 1e-7, atol: 1e-7 };
const half = { rtol: 1e-3, atol: 1e-3 };

const everywhere = (name: string, op: (x: Operand) => Value): readonly OpCase[] => [
  { name, inputs: [x(['batch', 3, 5], { low: -4, high: 4 })], build: (_, v) => op(v), tolerance: single },
  { name: `${name}: scalar`, inputs: [x([])], build: (_, v) => op(v), tolerance: single },
  { name: `${name}: nothing`, inputs: [x([2, 0])], build: (_, v) => op(v), tolerance: single },
  {
    name: `${name}: float16`,
    inputs: [x(['n'], { dtype: 'float16' })],
    build: (_, v) => op(v),
    tolerance: half,
    differentiable: 'elsewhere',
  },
];
const known = (
  name: string,
  op: (x: Operand) => Value,
  values: readonly number[],
  expected: readonly number[],
  differentiable: OpCase['differentiable'] = true,
): OpCase => ({
  name: `${name}: known values`,
  inputs: [x([values.length], { dtype: 'float64', values })],
  build: (_, v) => op(v),
  differentiable,
  expected: [expected],
  tolerance: { rtol: 1e-12, atol: 1e-15 },
});

const at = [-3, -0.5, 0, 0.5, 3];
export const cases: readonly OpCase[] = [
  ...everywhere('gelu', ops.gelu),
  ...everywhere('geluTanh', ops.geluTanh),
  ...everywhere('silu', ops.silu),
  ...everywhere('quickGelu', ops.quickGelu),
  ...everywhere('swish, negative alpha', (v) => ops.swish(v, -0.7)),
  ...everywhere('mish', ops.mish),
  ...everywhere('hardSwish', ops.hardSwish),
  known('gelu', ops.gelu, at, [-0.0040496940948902835, -0.15426876936299344, 0, 0.34573123063700656, 2.99595030590511]),
  known('geluTanh', ops.geluTanh, at, [-0.003637392081773019, -0.15428599017485609, 0, 0.34571400982514394, 2.996362607918227]),
  known('silu', ops.silu, at, [-0.14227761953270035, -0.18877033439907273, 0, 0.3112296656009273, 2.8577223804672998]),
  known('quickGelu', ops.quickGelu, at, [-0.018071309707785966, -0.1496115633936199, 0, 0.35038843660638014, 2.981928690292214]),
  known('mish', ops.mish, at, [-0.14564746127562458, -0.22074377465173, 0, 0.37524521130489513, 2.9865350049679575]),
  known('hardSwish', ops.hardSwish, [-4, -3, -1, 0, 1, 3, 4], [0, 0, -1 / 3, 0, 2 / 3, 3, 4], 'elsewhere'),
];
