import { describe, expect, it } from 'vitest';
import { lower } from '../lower/lower';
import { type OnnxAttentionOptions, onnxAttention } from '../ops/onnx-attention';
import { GraphBuilder } from '../ops/vocabulary';
import { cpu } from './cpu';
import { wasm } from './wasm';

function lowered(options: (g: GraphBuilder) => OnnxAttentionOptions, target: typeof cpu): readonly string[] {
  const g = new GraphBuilder();
  const [q, k, v] = ['q', 'k', 'v'].map((name) => g.input(name, 'float32', [2, 3, name === 'q' ? 5 : 7, 4]));
  const { y, scores } = onnxAttention(q!, k!, v!, options(g));
  g.output('y', y);
  if (scores) g.output('scores', scores);
  return lower(g.finish(), target).graph.nodes.map(({ op }) => op.key);
}

describe.each([cpu, wasm])('Attention of the standard on $name', (target) => {
  it('is the kernel where that follows the standard', () => {
    expect(lowered((g) => ({ causal: true, mask: g.input('mask', 'bool', [5, 7]) }), target)).toEqual(['Attention']);
    expect(lowered((g) => ({ scores: 'masked', mask: g.input('mask', 'float32', [5, 7]) }), target)).toEqual(['Attention']);
  });
  it('is decomposed for a mask over the first keys', () => {
    const lengths = (g: GraphBuilder) => g.input('lengths', 'int64', [2]);
    const found = lowered((g) => ({ mask: g.input('mask', 'float32', [5, 6]), nonpad: lengths(g) }), target);
    expect(found).not.toContain('Attention');
    expect(found).toContain('Softmax');
  });
  it('is decomposed if scores after mask are an output', () => {
    expect(lowered(() => ({ causal: true, scores: 'masked' }), target)).not.toContain('Attention');
    expect(lowered((g) => ({ mask: g.input('mask', 'bool', [5, 7]), scores: 'masked' }), target)).not.toContain('Attention');
  });
});
