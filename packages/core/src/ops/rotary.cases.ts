// Sample applications of RotaryEmbedding.
import type { Dim } from '../dim/dim';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { type RotaryOptions, rotaryEmbedding } from './rotary';

const float = (...dims: Dim[]): CaseInput => ({ dtype: 'float32', dims });
const positions: CaseInput = { dtype: 'int64', dims: ['batch', 'seq'], low: 0, high: 12 };

const heads4 = float('batch', 3, 'seq', 14);
const heads3 = float('batch', 'seq', 42);
const table = (half: number): CaseInput => float(13, half);
const rows = (half: number): CaseInput => float('batch', 'seq', half);

const forms: readonly (readonly [string, readonly CaseInput[], RotaryOptions])[] = [
  ['halves', [heads4, table(7), table(7), positions], {}],
  ['neighbours', [heads4, table(7), table(7), positions], { interleaved: true }],
  ['some channels, halves', [heads4, table(5), table(5), positions], { rotaryDim: 10 }],
  ['some channels, neighbours', [heads4, table(3), table(3), positions], { rotaryDim: 6, interleaved: true }],
  ['a row for each position', [heads4, rows(7), rows(7)], {}],
  ['a row for each position, neighbours', [heads4, rows(7), rows(7)], { interleaved: true }],
  ['heads side by side', [heads3, table(7), table(7), positions], { heads: 3 }],
  ['heads side by side, some channels, neighbours', [heads3, rows(2), rows(2)], { heads: 3, rotaryDim: 4, interleaved: true }],
];

export const cases: readonly OpCase[] = [
  ...forms.map(
    ([name, inputs, options]): OpCase => ({
      name: `rotary: ${name}`,
      inputs,
      build: (_, x, cos, sin, at) => rotaryEmbedding(x!, cos!, sin!, at, options),
      sizes: { batch: 2, seq: 5 },
    }),
  ),
  {
    // A quarter turn of the second pair.
    name: 'rotary: numbers by hand',
    inputs: [
      { dtype: 'float32', dims: [1, 1, 1, 5], values: [1, 2, 3, 4, 5] },
      { dtype: 'float32', dims: [1, 1, 2], values: [1, 0] },
      { dtype: 'float32', dims: [1, 1, 2], values: [0, 1] },
    ],
    build: (_, x, cos, sin) => [
      rotaryEmbedding(x!, cos!, sin!, undefined, { rotaryDim: 4 }),
      rotaryEmbedding(x!, cos!, sin!, undefined, { rotaryDim: 4, interleaved: true }),
    ],
    expected: [
      [1, -4, 3, 2, 5],
      [1, 2, -4, 3, 5],
    ],
  },
  {
    name: 'rotary: no rows',
    inputs: [heads4, table(7), table(7), positions],
    build: (_, x, cos, sin, at) => rotaryEmbedding(x!, cos!, sin!, at),
    sizes: { batch: 2, seq: 0 },
  },
];
