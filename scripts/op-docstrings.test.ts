// Docstrings of core's op functions: nothing is missing, and ops are named where targets have them.
import { expect, it } from 'vitest';
import { type OpFunction, opFunctions, wrongOpDocs } from './op-docstrings';

const functions = await opFunctions();
const one = (name: string): OpFunction => functions.find((f) => f.name === name)!;
/** A function whose docstring says something else under one entry, or nothing. */
function saying(name: string, entry: string, text?: string): OpFunction {
  const f = one(name);
  const entries = new Map(f.doc!.entries);
  if (text === undefined) entries.delete(entry);
  else entries.set(entry, text);
  return { ...f, doc: { ...f.doc!, entries } };
}

it('finds the functions that make values, and the ops that they emit', () => {
  expect(functions.length).toBeGreaterThan(130);
  const keys = Object.fromEntries(functions.map(({ name, op }) => [name, op?.key]));
  expect(keys).toMatchObject({ add: 'Add', silu: 'Swish', geluTanh: 'Gelu', reduceSum: 'ReduceSum', softmax: 'Softmax' });
  for (const ours of ['attendOp', 'linear', 'reshape', 'noise']) expect([ours, keys[ours]]).toEqual([ours, undefined]);
  for (const other of ['sameDims', 'erfOf', 'poolDims', 'maskOf']) expect(functions.map(({ name }) => name)).not.toContain(other);
});

it('every function documents its shapes, its errors and what it is lowered to on each target', () => {
  expect(wrongOpDocs(functions)).toEqual([]);
});

it('a line that is missing, and an op where there is none, are found', () => {
  for (const entry of ['Shapes', 'Throws', 'Lowers']) expect(wrongOpDocs([saying('add', entry)])).toEqual([`add: no ${entry}`]);
  expect(wrongOpDocs([{ ...one('add'), doc: undefined }])).toHaveLength(3);
  expect(wrongOpDocs([saying('round', 'Lowers', 'everywhere: Round')])).toEqual([
    'round: expected "Lowers   portable, cpu, wasm, cuda: Round · webgpu: primitives", got "everywhere: Round"',
  ]);
  expect(wrongOpDocs([saying('attendOp', 'Lowers', 'webgpu: PackedMultiHeadAttention · cuda: Attention')])).toEqual([
    'attendOp: webgpu has no PackedMultiHeadAttention',
  ]);
  expect(wrongOpDocs([saying('attendOp', 'Lowers', 'somewhere')])).toEqual(['attendOp: no target in "somewhere"']);
});
