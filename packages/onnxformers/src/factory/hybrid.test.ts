// Stacks whose layers differ: a pattern over a list of configs.
import { type AnyModule, ConfigError, interpret, namesOf } from '@onnxformers/core';
import { expectClose, randomArray, randomParameters, traceBlock } from '@onnxformers/core/testing';
import { preNorm, rmsNorm } from '@onnxformers/residual';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import { stack } from './stack';

const dim = 12;
const layer = (theta: number, attention: object | string) => ({
  name: 'sandwich_norm' as const,
  norm: { name: 'rms_norm' as const, unitOffset: true },
  mixer: { name: 'multi_head' as const, heads: 2, rotaryEmbedding: { name: 'rotary' as const, theta }, attention },
  feedforward: { name: 'glu' as const, hidden: 7 },
});
const local = layer(100, { name: 'local', window: 3, causal: true });
const full = layer(10_000, { name: 'scaled_dot_product', causal: true });
const base = { name: 'stack', dim, depth: 7 } as const;
const hybrid = { ...base, pattern: [0, 0, 1], layers: [local, full] };
const build = (config: object) => zoo.parse('stack', config) as unknown as AnyModule;

describe('a pattern', () => {
  it('is the list that it stands for, repeated over the depth', () => {
    const [short, long] = [build(hybrid), build({ ...base, layers: [local, local, full, local, local, full, local] })];
    expect([...namesOf(short).parameters.keys()]).toEqual([...namesOf(long).parameters.keys()]);
    const x = randomArray('x', [2, 5, dim]);
    const run = (m: AnyModule) =>
      interpret(traceBlock(m, { x: ['float32', [2, 5, dim]] }), { x }, { parameters: randomParameters(m).of });
    expectClose(run(short).y!, run(long).y!, { atol: 0, rtol: 0 });
    const layers = short.children.layers as unknown as readonly { readonly about: AnyModule['about'] }[];
    expect(layers.map(({ about }) => (about.config as typeof local).mixer.rotaryEmbedding.theta)).toEqual([
      100, 100, 10_000, 100, 100, 10_000, 100,
    ]);
  });

  it('is the same after a round trip through JSON', () => {
    const json = zoo.toJSON(build(hybrid) as never) as typeof hybrid;
    expect(json.pattern).toEqual([0, 0, 1]);
    expect(json.layers).toHaveLength(2);
    expect(zoo.toJSON(zoo.parse('stack', JSON.parse(JSON.stringify(json))))).toEqual(json);
    // One entry stays a list.
    const single = zoo.toJSON(build({ ...base, pattern: [0], layers: [local] }) as never) as typeof hybrid;
    expect(single.layers).toHaveLength(1);
  });

  it.each([
    [{ pattern: [] }, /stack\.pattern: an empty pattern/],
    [{ pattern: [0, 2] }, /stack\.layers\[1\]: no config for layer 1; expected a list of at least 3, got a list of 2/],
    [{ pattern: [0, -1] }, /stack \(stack\)\.pattern|stack\.pattern: wrong value/],
    [{ pattern: [0] }, /stack\.layers\[1\]: a config that no layer has/],
    [{ pattern: [0, 1], depth: 1 }, /stack\.layers\[1\]: a config that no layer has/],
    [{ pattern: [0], layers: local }, /stack\.layers: a pattern chooses from a list/],
  ])('is refused where it does not fit: %o', (wrong, message) => {
    expect(() => build({ ...hybrid, ...wrong })).toThrow(ConfigError);
    expect(() => build({ ...hybrid, ...wrong })).toThrow(message);
  });

  it('does not share the weights of a module by accident', () => {
    const module = () =>
      preNorm({ dim, feedforward: zoo.build('feedforward', { name: 'mlp', dim }), norm: () => rmsNorm({ dim }) });
    expect(() => stack({ dim, depth: 2, pattern: [0, 0], layers: [module()] })).toThrow(
      'one module was given for several layers',
    );
    const two = stack({ dim, depth: 2, pattern: [1, 0], layers: [module(), module()] });
    expect(namesOf(two).aliases.size).toBe(0);
  });
});
