// Heads of a width that fused kernels of CUDA do not take become wider by zeros.
import { type AnyModule, compile, type Dim, interpret, targets } from '@onnxformers/core';
import { expectClose, randomArray } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { scaledDotProduct } from '../softmax/scaled-dot-product';

const rule = 'Attend → Attend on wider heads';
interface Widths {
  readonly seq: Dim;
  readonly kvSeq?: Dim;
  readonly keys: number;
  readonly values: number;
  readonly target?: typeof targets.cuda;
}

function lowered({ seq, kvSeq = seq, keys, values, target = targets.cuda }: Widths) {
  const rows = (n: Dim, width: number) => ['float32', ['batch', 2, n, width]] as const;
  const model = compile(scaledDotProduct({ causal: true }) as unknown as AnyModule, {
    target,
    dtype: 'float32',
    inputs: { q: rows(seq, keys), k: rows(kvSeq, keys), v: rows(kvSeq, values) },
  });
  const { decisions, graph, traced } = model;
  const sizes = { batch: 3, seq: 67 };
  const feeds = {
    q: randomArray('q', [3, 2, 67, keys]),
    k: randomArray('k', [3, 2, 67, keys]),
    v: randomArray('v', [3, 2, 67, values]),
  };
  const wider = decisions.some((d) => d.chosen === rule);
  const numbers = () => [interpret(graph, feeds, { sizes }), interpret(traced, feeds, { sizes })] as const;
  const widths = graph.nodes.find((n) => n.op.key.endsWith('Attention'))?.operands.map((x) => x?.dims[2]);
  return { wider, numbers, widths };
}

describe('heads', () => {
  it.each([
    [66, 64, [144, 144, 128]],
    [44, 50, [96, 96, 112]],
    [64, 50, [128, 128, 112]],
  ])('of %i and %i channels become multiples of 8, with the same result', (keys, values, expected) => {
    for (const seq of ['seq', 67] as const) {
      const { wider, numbers, widths } = lowered({ seq, keys, values });
      expect(wider).toBe(true);
      expect(widths?.slice(0, 3)).toEqual(expected);
      const [got, right] = numbers();
      // The scale of a lowered graph is float32.
      for (const name of Object.keys(right)) expectClose(got[name]!, right[name]!, { atol: 1e-6, rtol: 1e-6 }, name);
    }
  });

  it.each<readonly [string, Widths]>([
    ['a multiple of 8', { seq: 'seq', keys: 72, values: 64 }],
    ['narrow', { seq: 'seq', keys: 12, values: 12 }],
    ['of a step of a decoder', { seq: 1, kvSeq: 'kv', keys: 66, values: 64 }],
    ['of some new positions behind cached ones', { seq: 'seq', kvSeq: 'past + seq', keys: 66, values: 64 }],
    ['on a target that takes any width', { seq: 'seq', keys: 66, values: 64, target: targets.cpu }],
  ])('stay as they are: %s', (_, widths) => expect(lowered(widths).wider).toBe(false));
});
