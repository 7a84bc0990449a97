// Decisions in branches say for which sizes they hold.
import { expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import * as ops from '../ops/index';
import { targets } from '../targets/index';

it('a decision in a branch contains the sizes for which it runs, through nested branches and branches that depend on data', () => {
  const m = module({}, ({ x, flag }: Readonly<Record<string, Value>>) => {
    const seq = ops.size(x!, 'seq');
    const [y] = ops.cond(
      ops.lessOrEqual(seq, 32),
      () => [ops.silu(x!)],
      () =>
        ops.cond(
          ops.less(ops.size(x!, 'batch'), 5),
          () => [ops.silu(x!)],
          () =>
            ops.cond(
              flag!,
              () => [ops.silu(ops.neg(x!))],
              () => [ops.silu(x!)],
            ),
        ),
    );
    return { y: y!, z: ops.silu(ops.mul(x!, 2)) };
  });
  const { decisions } = compile(m, {
    target: targets.portable(),
    inputs: { x: ['float32', ['batch', 'seq']], flag: ['bool', [], 'data'] },
  });
  const swishes = decisions.filter((d) => d.op === 'Swish');
  expect(new Set(swishes.map((d) => d.where))).toEqual(
    new Set(['seq <= 32', 'seq > 32 and batch < 5', 'seq > 32 and batch >= 5', undefined]),
  );
});
