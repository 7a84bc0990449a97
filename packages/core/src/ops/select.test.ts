import { expect, test } from 'vitest';
import { interpret } from '../interpret/interpret';
import { tensor, toArray } from '../tensor/convert';
import { checkOp } from '../testing';
import { gather, gatherElements, gatherND, oneHot, scatterElements, scatterND, topK } from './select';
import { cases } from './select.cases';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

const g = new GraphBuilder();
const x = g.input('x', 'float32', ['n', 3, 'd']);
const indices = g.input('indices', 'int64', ['k', 2]);

test('operands that do not fit are refused', () => {
  expect(() => gather(x, indices, 3)).toThrow(
    'Gather: there is no axis 3; expected -3 to 2, got 3. Operands: x float32[n, 3, d], indices int64[k, 2]',
  );
  expect(() => gather(x, x)).toThrow('Gather: wrong dtype for the indices; expected an integer dtype, got float32');
  expect(() => gather(x, g.input('bytes', 'uint8', [2]))).toThrow('expected int64 or int32, got uint8');
  expect(() => gatherElements(x, indices, 0)).toThrow('GatherElements: the indices have the wrong rank; expected 3, got 2');
  expect(() => gatherElements(x, g.input('e', 'int64', ['n', 5, 'd']), 0)).toThrow(
    'do not fit on axis 1; expected at most 3, got 5',
  );
  expect(() => gatherND(x, g.input('deep', 'int64', ['n', 4]))).toThrow(
    'the last axis of the indices names no axes; expected a size of 1 to 3, got 4',
  );
  expect(() => gatherND(x, indices, 1)).toThrow('GatherND: the batches differ on axis 0; expected n, got k');
  expect(() => scatterND(x, indices, g.input('u', 'float32', ['k', 3]))).toThrow(
    'the updates do not fit the indices; expected [k, d], got [k, 3]',
  );
  expect(() => scatterND(x, indices, g.input('h', 'float16', ['k', 'd']))).toThrow('ScatterND: the dtypes differ');
  const keep = g.input('keep', 'bool', ['n']);
  expect(() => scatterND(keep, g.input('i1', 'int64', ['k', 1]), g.input('b', 'bool', ['k']), 'add')).toThrow(
    'expected a number dtype, got bool',
  );
  const matrix = g.input('matrix', 'float32', ['k', 5]);
  expect(() => scatterElements(matrix, indices, matrix, 1)).toThrow(
    'the updates do not fit the indices; expected [k, 2], got [k, 5]',
  );
  expect(() => topK(x, 4, { axis: 1 })).toThrow('TopK: there are no 4 elements on axis 1; expected 0 to 3, got 4');
  expect(() => oneHot(indices, 5, { axis: 3 })).toThrow('oneHot: there is no axis 3; expected -3 to 2');
});

test('an index out of range is reported where it happens', () => {
  const h = new GraphBuilder();
  h.output(
    'y',
    h.scope('embedding', () => gather(h.input('table', 'float32', [5, 2]), h.input('ids', 'int64', ['n']))),
  );
  const feeds = { table: toArray(tensor('float32', [5, 2], new Array(10).fill(1))), ids: toArray(tensor('int64', [2], [1, 5])) };
  expect(() => interpret(h.finish(), feeds)).toThrow('Gather in embedding: an index is out of range; expected -5 to 4, got 5');
});

test('a constant k is an operand, a symbolic one is read from the graph', () => {
  const kOf = (v: typeof x) => v.producer!.operands[1]!;
  const constant = { kind: 'constant', tensor: { dtype: 'int64', dims: [1], data: BigInt64Array.of(2n) } };
  expect(kOf(topK(x, 2, { axis: 1 })[0]).leaf).toMatchObject(constant);
  const read = kOf(topK(x, 'k', { axis: 0 })[0]);
  expect([read.dtype, read.dims, read.leaf]).toEqual(['int64', [1], undefined]);
});
