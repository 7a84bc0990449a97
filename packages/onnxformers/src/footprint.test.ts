// Cost follows what is there, not what is configured: constants and intermediates of compiled blocks, without a clock.
import { footprint } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { type AnyModule, type CompileOptions, compile, type Dim, type Model, targets, zoo } from './index';

const heads = (seq: Dim): CompileOptions['inputs'] =>
  Object.fromEntries(['q', 'k', 'v'].map((name) => [name, ['float32', ['batch', 2, seq, 8]]]));
const attention = (config: Parameters<typeof zoo.parse>[1], target = targets.cpu, seq: Dim = 'seq'): Model =>
  compile(zoo.parse('attention', config) as unknown as AnyModule, { target, inputs: heads(seq) });
const all = [targets.portable(), targets.cpu, targets.cuda, targets.webgpu];
const largest = 2 ** 31 - 1;

describe.each(all.map((target) => [target.name, target] as const))('on %s', (_, target) => {
  it.each([
    ['nystrom', { name: 'nystrom', landmarks: 20_000 }],
    ['nystrom', { name: 'nystrom', landmarks: largest }],
    ['nystrom of known length', { name: 'nystrom', landmarks: 20_000 }, 29],
    ['local', { name: 'local', window: 4097 }],
    ['local', { name: 'local', window: 131_071 }],
    ['causal local', { name: 'local', window: 4096, causal: true }],
    ['local', { name: 'local', window: largest }],
    ['local of known length', { name: 'local', window: 4097 }, 29],
  ] as const)('%s %j on 29 rows takes what attention to 29 rows takes', (_, config, seq: Dim = 'seq') => {
    const { constants, folded, largest: value } = footprint(attention(config, target, seq).graph, { batch: 3, seq: 29 });
    expect(value.at).toBeLessThanOrEqual(3 * 2 * 29 * 29);
    expect(constants).toBeLessThan(2 ** 13);
    expect(folded).toBeLessThan(2 ** 13);
  });

  it('nystrom uses memory in proportion to the sequence', () => {
    for (const seq of [1009, 16_381]) {
      const { constants, largest: value } = footprint(attention({ name: 'nystrom', landmarks: 13 }, target).graph, {
        batch: 3,
        seq,
      });
      expect(value.at).toBeLessThanOrEqual(3 * 2 * 13 * (seq + 13));
      // Multiples of the identity matrix of the landmarks.
      expect(constants).toBeLessThan(2 ** 14);
    }
  });

  it('fourier_mix uses memory in proportion to the sequence', () => {
    const m = zoo.parse('mixer', { name: 'fourier_mix', dim: 6 }) as unknown as AnyModule;
    for (const seq of [1009, 16_384]) {
      const { graph } = compile(m, { target, inputs: { x: ['float32', ['batch', 'seq', 6]] } });
      const { constants, largest: value } = footprint(graph, { batch: 3, seq });
      // Real and imaginary part of a signal that is padded to 2 seq − 1 rows and a part of a block of 128, and the matrix between blocks.
      expect(value.at).toBeLessThanOrEqual(Math.max(3 * 6 * 2 * (2 * seq + 127), 4 * (seq / 64 + 1) ** 2));
      expect(constants).toBeLessThan(2 ** 20);
    }
  });
});
