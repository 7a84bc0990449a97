// Cases of products of matrices and sums of products.
import type { CaseInput, OpCase } from '../testing/op-suite';
import { einsum } from './einsum';
import { gemm, linear, matmul } from './matmul';

const float = (...dims: CaseInput['dims']): CaseInput => ({ dtype: 'float32', dims });
const known = (dims: readonly number[], ...values: number[]): CaseInput => ({ dtype: 'float32', dims, values });

const products: readonly OpCase[] = [
  { name: 'matmul', inputs: [float('seq', 3), float(3, 2)], build: (_, a, b) => matmul(a, b) },
  {
    name: 'matmul, known elements',
    inputs: [known([2, 3], 1, 2, 3, 4, 5, 6), known([3, 2], 7, 8, 9, 10, 11, 12)],
    build: (_, a, b) => matmul(a, b),
    expected: [[58, 64, 139, 154]],
  },
  { name: 'matmul of a batch and one matrix', inputs: [float('batch', 'seq', 3), float(3, 2)], build: (_, a, b) => matmul(a, b) },
  { name: 'matmul of one matrix and a batch', inputs: [float('seq', 3), float('batch', 3, 2)], build: (_, a, b) => matmul(a, b) },
  {
    name: 'matmul of broadcast batches',
    inputs: [float('batch', 1, 'seq', 2), float(3, 2, 5)],
    build: (_, a, b) => matmul(a, b),
  },
  { name: 'matmul of a row', inputs: [float(3), float('batch', 3, 2)], build: (_, a, b) => matmul(a, b) },
  { name: 'matmul of a column', inputs: [float('batch', 2, 3), float(3)], build: (_, a, b) => matmul(a, b) },
  { name: 'matmul of two vectors', inputs: [float('seq'), float('seq')], build: (_, a, b) => matmul(a, b) },
  {
    name: 'matmul over nothing',
    inputs: [float(2, 0), float(0, 3)],
    build: (_, a, b) => matmul(a, b),
    expected: [[0, 0, 0, 0, 0, 0]],
  },
  { name: 'matmul of no rows', inputs: [float('batch', 0, 3), float(3, 2)], build: (_, a, b) => matmul(a, b) },
  {
    name: 'matmul of integers',
    inputs: [
      { dtype: 'int32', dims: [2, 3] },
      { dtype: 'int32', dims: [3, 5] },
    ],
    build: (_, a, b) => matmul(a, b),
  },
  { name: 'linear', inputs: [float('batch', 'seq', 3), float(2, 3), float(2)], build: (_, x, w, b) => linear(x, w, b) },
  { name: 'linear without bias', inputs: [float('seq', 5), float(3, 5)], build: (_, x, w) => linear(x, w) },
  { name: 'linear of a vector', inputs: [float(3), float(2, 3), float(2)], build: (_, x, w, b) => linear(x, w, b) },
  {
    name: 'linear, known elements',
    inputs: [known([1, 2], 1, 2), known([3, 2], 1, 2, 3, 4, 5, 6), known([3], 10, 20, 30)],
    build: (_, x, w, b) => linear(x, w, b),
    expected: [[15, 31, 47]],
  },
  { name: 'gemm', inputs: [float(2, 3), float(3, 5)], build: (_, a, b) => gemm(a, b) },
  {
    name: 'gemm with everything',
    inputs: [float(3, 'seq'), float(5, 3), float(1, 5)],
    build: (_, a, b, c) => gemm(a, b, c, { alpha: 0.5, beta: -2, transA: true, transB: true }),
  },
  {
    name: 'gemm of a transposed left',
    inputs: [float(3, 2), float(3, 5), float(2, 1)],
    build: (_, a, b, c) => gemm(a, b, c, { transA: true }),
  },
  {
    name: 'gemm of a transposed right',
    inputs: [float('seq', 3), float(5, 3), float(5)],
    build: (_, a, b, c) => gemm(a, b, c, { transB: true, beta: 3 }),
  },
];

const sums: readonly OpCase[] = [
  {
    name: 'einsum: scores',
    inputs: [float('batch', 'seq', 3, 2), float('batch', 'keys', 3, 2)],
    build: (_, q, k) => einsum('bshd,bthd->bhst', q, k),
  },
  {
    name: 'einsum: matmul, known elements',
    inputs: [known([2, 2], 1, 2, 3, 4), known([2, 2], 5, 6, 7, 8)],
    build: (_, a, b) => einsum('ij,jk', a, b),
    expected: [[19, 22, 43, 50]],
  },
  { name: 'einsum: outer product', inputs: [float('seq'), float(3)], build: (_, a, b) => einsum('i,j->ij', a, b) },
  { name: 'einsum: inner product', inputs: [float('seq'), float('seq')], build: (_, a, b) => einsum('i,i', a, b) },
  { name: 'einsum: sums of one operand', inputs: [float('batch', 3, 2)], build: (_, a) => einsum('abc->ca', a) },
  {
    name: 'einsum: a sum inside of each operand',
    inputs: [float(2, 3, 'seq'), float(3, 5)],
    build: (_, a, b) => einsum('ijk,jl->i', a, b),
  },
  { name: 'einsum: transpose', inputs: [float('batch', 'seq')], build: (_, a) => einsum('ab->ba', a) },
  {
    name: 'einsum: three operands',
    inputs: [float('batch', 2), float(3, 2, 5), float('batch', 5)],
    build: (_, a, w, b) => einsum('bi,oij,bj->bo', a, w, b),
  },
  {
    name: 'einsum: several inner axes',
    inputs: [float('seq', 2, 3), float(2, 3, 5)],
    build: (_, a, b) => einsum('shd,hdo->so', a, b),
  },
  {
    name: 'einsum: ellipsis',
    inputs: [float('batch', 1, 'seq', 2), float(1, 3, 2, 5)],
    build: (_, a, b) => einsum('...ij,...jk->...ik', a, b),
  },
  { name: 'einsum: implied ellipsis', inputs: [float('batch', 'seq', 2), float(2)], build: (_, a, b) => einsum('...j,j', a, b) },
  {
    name: 'einsum: diagonal',
    inputs: [known([2, 2, 2], 1, 2, 3, 4, 5, 6, 7, 8)],
    build: (_, a) => einsum('...ii->...i', a),
    expected: [[1, 4, 5, 8]],
  },
  { name: 'einsum: trace', inputs: [float('seq', 3, 'seq')], build: (_, a) => einsum('iji->j', a) },
  { name: 'einsum: three times the same axis', inputs: [float(3, 3, 3)], build: (_, a) => einsum('iii->i', a) },
  { name: 'einsum: of a scalar', inputs: [float()], build: (_, a) => einsum('->', a) },
  {
    name: 'einsum: over nothing',
    inputs: [float(2, 0), float(0, 3)],
    build: (_, a, b) => einsum('ij,jk->ik', a, b),
    expected: [[0, 0, 0, 0, 0, 0]],
  },
];

export const cases: readonly OpCase[] = [...products, ...sums];
