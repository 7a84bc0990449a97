// Cases of Fourier transforms.
import type { CaseInput, OpCase } from '../testing/op-suite';
import { dft } from './fourier';

const float = (...dims: CaseInput['dims']): CaseInput => ({ dtype: 'float64', dims });
const known = (dims: readonly number[], ...values: number[]): CaseInput => ({ dtype: 'float64', dims, values });

// In float64, since the matrices of the definition are constants of the operand's dtype.
export const cases: readonly OpCase[] = [
  {
    name: 'dft, known elements',
    inputs: [known([4, 1], 1, 2, 3, 4)],
    build: (_, x) => dft(x!),
    expected: [[10, 0, -2, 2, -2, 0, -2, -2]],
  },
  { name: 'dft of a real signal', inputs: [float('batch', 'seq', 1)], build: (_, x) => dft(x!) },
  { name: 'dft of a complex signal', inputs: [float('batch', 'seq', 2)], build: (_, x) => dft(x!) },
  { name: 'dft along another axis', inputs: [float('batch', 'seq', 3, 2)], build: (_, x) => dft(x!, { axis: 1 }) },
  { name: 'dft along the first axis', inputs: [float(5, 3, 1)], build: (_, x) => dft(x!, { axis: 0 }) },
  { name: 'dft of a longer signal', inputs: [float(3, 1)], build: (_, x) => dft(x!, { length: 5 }) },
  { name: 'dft of a shorter signal', inputs: [float('batch', 7, 2)], build: (_, x) => dft(x!, { length: 5 }) },
  { name: 'inverse dft', inputs: [float('batch', 'seq', 2)], build: (_, x) => dft(x!, { inverse: true }) },
  { name: 'inverse dft of a real spectrum', inputs: [float(5, 1)], build: (_, x) => dft(x!, { inverse: true }) },
  {
    name: 'dft and back',
    inputs: [known([3, 2], 1, 2, 3, 4, 5, 6)],
    build: (_, x) => dft(dft(x!), { inverse: true }),
    expected: [[1, 2, 3, 4, 5, 6]],
  },
  {
    name: 'one-sided dft of odd length',
    inputs: [float('batch', 'seq', 1)],
    sizes: { seq: 7 },
    build: (_, x) => dft(x!, { onesided: true }),
  },
  {
    name: 'one-sided dft of even length',
    inputs: [float('seq', 3, 1)],
    sizes: { seq: 6 },
    build: (_, x) => dft(x!, { axis: 0, onesided: true }),
  },
  {
    name: 'one-sided dft and back',
    inputs: [known([4, 1], 1, 2, 3, 5)],
    build: (_, x) => dft(dft(x!, { onesided: true }), { inverse: true, onesided: true }),
    expected: [[1, 2, 3, 5]],
  },
  {
    name: 'one-sided dft and back, odd',
    inputs: [known([5, 1], 1, 2, 3, 5, 8)],
    build: (_, x) => dft(dft(x!, { onesided: true }), { inverse: true, onesided: true, length: 5 }),
    expected: [[1, 2, 3, 5, 8]],
  },
  {
    name: 'one-sided spectrum back',
    inputs: [float('batch', 'bins', 2)],
    build: (_, x) => dft(x!, { inverse: true, onesided: true }),
  },
  {
    name: 'one-sided spectrum back to a given length',
    inputs: [float('bins', 3, 2), float('2*bins - 1')],
    build: (_, x, y) => dft(x!, { axis: 0, inverse: true, onesided: true, length: y!.dims[0]! }),
  },
  {
    name: 'one-sided spectrum back to fewer',
    inputs: [float(6, 2)],
    build: (_, x) => dft(x!, { inverse: true, onesided: true, length: 7 }),
  },
];
