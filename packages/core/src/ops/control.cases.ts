// Sample applications of the ops of control.ts.
import type { OpCase } from '../testing/op-suite';
import { less } from './comparison';
import { cond } from './control';
import { add, exp, mul } from './elementwise';
import { matmul } from './matmul';
import { size } from './shape';

const rows = { dtype: 'float32', dims: ['n', 3] } as const;
const weight = { dtype: 'float32', dims: [3, 3] } as const;

// One branch uses values that the other does not; values that both use are also used outside.
const branching = (limit: number): OpCase => ({
  name: `cond: ${limit > 5 ? 'first' : 'second'} branch`,
  inputs: [rows, weight, rows],
  sizes: { n: 5 },
  build(g, x, w, y) {
    const shared = mul(x!, 2);
    const [a, b] = cond(
      less(size(g, x!.dims[0]!), limit),
      () => [exp(matmul(shared, w!)), x!],
      () => [add(mul(shared, y!), x!), mul(y!, y!)],
    );
    return [mul(a!, shared), b!];
  },
});

export const cases: readonly OpCase[] = [
  branching(7),
  branching(3),
  {
    name: 'cond: a branch in a branch',
    inputs: [rows, rows],
    sizes: { n: 5 },
    build(g, x, y) {
      const n = size(g, x!.dims[0]!);
      const inner = () =>
        cond(
          less(n, 9),
          () => [mul(x!, y!)],
          () => [exp(x!)],
        );
      return cond(
        less(n, 7),
        () => [mul(inner()[0]!, y!)],
        () => [x!],
      );
    },
  },
];
