import { expect, test } from 'vitest';
import { checkOp } from '../testing';
import { gelu, hardSwish, mish, silu } from './activation';
import { cases } from './activation.cases';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

test.each([
  ['gelu', gelu],
  ['silu', silu],
  ['mish', mish],
  ['hardSwish', hardSwish],
] as const)('%s takes no integers', (_, op) => {
  const x = new GraphBuilder().input('x', 'int32', [3]);
  expect(() => op(x)).toThrow('expected a float dtype, got int32');
});
