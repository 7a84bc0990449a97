// Sample applications of ONNX Attention.
import type { Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { tensor } from '../tensor/convert';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { type OnnxAttentionOptions, onnxAttention } from './onnx-attention';

const float = (...dims: Dim[]): CaseInput => ({ dtype: 'float32', dims });
const bool = (...dims: Dim[]): CaseInput => ({ dtype: 'bool', dims });
const int64 = (...values: number[]): CaseInput => ({ dtype: 'int64', dims: ['batch'], values });

const apart = [float('batch', 6, 'seq', 5), float('batch', 2, 'kv', 5), float('batch', 2, 'kv', 7)];
const sideBySide = [float('batch', 'seq', 30), float('batch', 'kv', 10), float('batch', 'kv', 14)];
const past = [float('batch', 2, 'past', 5), float('batch', 2, 'past', 7)];
const heads = { q: 6, kv: 2 };

function sample(
  name: string,
  inputs: readonly CaseInput[],
  options: (...more: Value[]) => OnnxAttentionOptions,
  sizes: Readonly<Record<string, number>> = {},
): OpCase {
  return {
    name: `onnx attention: ${name}`,
    inputs,
    build(_, q, k, v, ...more) {
      const { y, present, scores } = onnxAttention(q!, k!, v!, options(...more));
      return [y, ...(present ? [present.key, present.value] : []), ...(scores ? [scores] : [])];
    },
    sizes: { batch: 2, seq: 5, kv: 7, past: 3, ...sizes },
    // The scale is rounded to float32.
    tolerance: { atol: 1e-6, rtol: 1e-6 },
  };
}

export const cases: readonly OpCase[] = [
  sample('4 axes', apart, () => ({})),
  sample('3 axes', sideBySide, () => ({ heads })),
  sample('causal counts from 0 on both sides', apart, () => ({ causal: true })),
  sample('causal, more queries than keys', apart, () => ({ causal: true }), { seq: 7, kv: 5 }),
  sample('past', [...apart, ...past], (key, value) => ({ past: { key: key!, value: value! } })),
  sample('causal behind a past, 3 axes', [...sideBySide, ...past], (key, value) => ({
    past: { key: key!, value: value! },
    causal: true,
    heads,
  })),
  sample('bool mask', [...apart, bool('seq', 'kv')], (mask) => ({ mask: mask! })),
  sample('bool mask of 3 axes', [...apart, bool(6, 'seq', 'kv')], (mask) => ({ mask: mask! })),
  sample('bool mask and causal', [...apart, bool('batch', 1, 'seq', 'kv')], (mask) => ({ mask: mask!, causal: true })),
  sample('float mask', [...apart, float('batch', 6, 'seq', 'kv')], (mask) => ({ mask: mask! })),
  sample('float mask and causal, softcap, scale', [...apart, float('batch', 1, 'seq', 'kv')], (mask) => ({
    mask: mask!,
    causal: true,
    softcap: 1.5,
    scale: 0.8,
  })),
  sample('rows held elsewhere', [...apart, int64(5, 0)], (nonpad) => ({ nonpad: nonpad! })),
  sample('rows held elsewhere, causal', [...apart, int64(7, 3)], (nonpad) => ({ nonpad: nonpad!, causal: true })),
  sample(
    'a short mask',
    [...apart, bool('batch', 1, 'seq', 'named'), int64(3, 1)],
    (mask, nonpad) => ({ mask: mask!, nonpad: nonpad! }),
    { named: 3 },
  ),
  sample(
    'a short float mask',
    [...apart, float('seq', 'named'), int64(3, 1)],
    (mask, nonpad) => ({ mask: mask!, nonpad: nonpad! }),
    { named: 3 },
  ),
  sample('the scaled scores', apart, () => ({ scores: 'scaled', softcap: 1.5, causal: true })),
  sample('the capped scores', apart, () => ({ scores: 'capped', softcap: 1.5, causal: true })),
  sample('the masked scores', [...apart, float('seq', 'kv')], (mask) => ({ scores: 'masked', softcap: 1.5, mask: mask! })),
  sample('the weights', [...sideBySide, bool('seq', 'kv')], (mask) => ({ scores: 'softmax', mask: mask!, heads })),
  sample('the softmax in float64', apart, () => ({ precision: 'float64', causal: true })),
  sample(
    '16 bits',
    apart.map((x) => ({ ...x, dtype: 'float16' })),
    () => ({ causal: true, scores: 'softmax' }),
  ),
  {
    name: 'onnx attention: a float mask of −∞ for all keys of the first query and one of the second',
    inputs: [float(1, 1, 2, 3), float(1, 1, 2, 3), float(1, 1, 2, 5)],
    build(g, q, k, v) {
      const mask = g.constant(tensor('float32', [2, 2], [-Infinity, -Infinity, 0, -Infinity]));
      const { y, scores } = onnxAttention(q!, k!, v!, { mask, scores: 'softmax' });
      return [scores!, y];
    },
    expected: [[0, 0, 1, 0]],
    tolerance: { atol: 1e-6, rtol: 1e-6 },
  },
];
