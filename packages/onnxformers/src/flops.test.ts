import { compile, lora, reparametrize, summary, targets } from '@onnxformers/core';
import { expect, it } from 'vitest';
import { zoo } from './index';

const flopsOf = (
  attention: 'scaled_dot_product' | { readonly name: 'nystrom'; readonly landmarks: number },
  seq: number,
): number => {
  const mixer = zoo.build('mixer', { name: 'multi_head', dim: 44, heads: 2, attention });
  const model = compile(mixer, { target: targets.portable(), inputs: { x: ['float32', ['batch', 'seq', 44]] } });
  return summary(model, { batch: 1, seq }).root.flops;
};

it('nystrom counts the branch that long sequences take: linear in the sequence, where plain attention is quadratic', () => {
  const landmarks = { name: 'nystrom', landmarks: 31 } as const;
  expect(flopsOf(landmarks, 8186) / flopsOf(landmarks, 4093)).toBeCloseTo(2, 1);
  expect(flopsOf('scaled_dot_product', 8186) / flopsOf('scaled_dot_product', 4093)).toBeGreaterThan(3.5);
  expect(flopsOf(landmarks, 8186)).toBeLessThan(flopsOf('scaled_dot_product', 8186) / 20);
});

it('a short sequence counts the branch of plain attention', () => {
  expect(flopsOf({ name: 'nystrom', landmarks: 31 }, 29)).toBe(flopsOf('scaled_dot_product', 29));
});

it('a merged LoRA counts the product of its factors', () => {
  const glu = zoo.build('feedforward', { name: 'glu', dim: 64, hidden: 61, bias: false });
  const adapted = reparametrize(glu, (path, p) => (path === 'down_proj.weight' ? lora(p, { rank: 8 }) : undefined));
  const [plain, more] = [glu, adapted].map(
    (block) =>
      summary(compile(block, { target: targets.portable(), inputs: { x: ['float32', ['tokens', 64]] } }), { tokens: 7 }).root
        .flops,
  );
  expect(more! - plain!).toBe(64 * 61 * (2 * 8 + 1));
});
