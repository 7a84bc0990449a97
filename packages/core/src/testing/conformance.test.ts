import { expect, it } from 'vitest';
import { defineBlock } from '../block/block';
import type { AnyBlock } from '../block/block-definition';
import { int } from '../config/fields';
import { defineOp } from '../ir/define-op';
import { apply, type Value } from '../ir/graph';
import { linear } from '../layers/linear';
import { none } from '../mask/index';
import { module } from '../module/module';
import { cast } from '../ops/cast';
import { add, div, mul, tanh } from '../ops/elementwise';
import { matmul } from '../ops/matmul';
import { flip, transpose } from '../ops/movement';
import { reduceMean } from '../ops/reduce';
import { size } from '../ops/shape';
import { ones } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { attend, type SequenceContext } from '../sequence/context';
import { conformance } from './conformance';

/** What fails when a block is tested: the names of the tests, with their messages. */
function failuresOf(...blocks: AnyBlock[]): string[] {
  const failures: string[] = [];
  conformance(blocks, {
    describe: (_, f) => f(),
    it(name, f) {
      try {
        void f();
      } catch (error) {
        failures.push(`${name}: ${(error as Error).message}`);
      }
    },
  });
  return failures;
}

const dim = int({ doc: 'channels', min: 1 });
const good = defineBlock({
  kind: 'feedforward',
  name: 'two_maps',
  summary: 'Two maps.',
  fields: { dim, hidden: int({ doc: 'hidden channels', min: 1, default: (c: { dim: number }) => 2 * c.dim }) },
  examples: [{ dim: 3 }, { dim: 3, hidden: 7 }],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal', 'deterministic'],
  create({ dim, hidden }) {
    const [up, down] = [linear(dim, hidden), linear(hidden, dim)];
    return module({ up, down }, (x: Value) => down(tanh(up(x))));
  },
});

it('passes a block that keeps its assumptions', () => {
  expect(failuresOf(good)).toEqual([]);
});

it('counts the tests of every example', () => {
  const names: string[] = [];
  conformance([good], { describe: (_, f) => f(), it: (name) => void names.push(name) });
  expect(names).toHaveLength(2 + 2 * 7);
});

/** A mixer that differs from a good one in what is given. */
const mixer = (changes: object): AnyBlock =>
  defineBlock({
    kind: 'mixer',
    name: 'some_mixer',
    summary: 'Mixes.',
    fields: { dim },
    examples: [{ dim: 3 }],
    create: () => (x: Value) => x,
    ...changes,
  } as never) as AnyBlock;

const wrongGradient = defineOp({
  key: 'onnxformers.Wrong',
  attributes: {},
  infer: ([x]) => [x!],
  decompose: ([x]) => [mul(x!, x!)],
  vjp: (_, grads) => grads,
});
const row = (x: Value) => reduceMean(x, [1]);

it.each([
  [{ name: 'SomeMixer' }, 'is documented: mixer SomeMixer: its name is not in snake_case'],
  [{ summary: 'mixes' }, 'its summary is not a sentence'],
  [{ source: 'somebody' }, 'its source has no year'],
  [{ fields: { dim: int({ doc: ' ' }) } }, 'the option dim has no doc'],
  [{ fields: { dim, 'seq-len': int({ doc: 'rows', default: 3 }) } }, 'the option seq-len is not in camelCase'],
  [{ create: () => (x: Value) => apply(wrongGradient, [x], {})[0] }, 'the gradient of the input x is wrong'],
  [
    { create: () => module({ w: new Parameter([3], ones) }, (x: Value) => (typeof x.dims[1] === 'number' ? x : mul(x, 2))) },
    'y at the sizes {"batch":2,"seq":11}, traced symbolically and as numbers, are not close',
  ],
  [
    { properties: ['batchIndependent'], create: () => (x: Value) => add(x, reduceMean(x, [0])) },
    'batchIndependent: y changes by',
  ],
  [{ properties: ['causal'], create: () => (x: Value) => add(x, row(x)) }, 'causal: y changes by'],
  [
    { properties: ['permutationEquivariant'], create: () => (x: Value) => mul(x, flip(x, 1)) },
    'permutationEquivariant: y changes by',
  ],
  [{ properties: ['causal'], create: () => (x: Value) => mul(x, 0) }, 'causal: changed data changed no output'],
  [
    {
      properties: ['fixedLength'],
      fields: { dim, seqLen: int({ doc: 'rows', min: 1, default: 11 }) },
    },
    'fixedLength: a sequence of 12 rows was not refused',
  ],
  [
    {
      properties: ['deterministic'],
      create: () => (x: Value) => add(x, x.graph.draw('noise', x.dims, 'uniform')),
    },
    'deterministic: it draws noise',
  ],
  [
    { properties: ['linear'], create: () => (x: Value) => matmul(matmul(x, transpose(x, [0, 2, 1])), x) },
    'linear: on portable-21 a value grows with seq to the power of 2; the largest has batch*seq*seq elements',
  ],
  [
    { create: () => (x: Value) => div(x, cast(size(x, x.dims[1]!), 'float32')) },
    'padding on the right, by lengths, with finite numbers in it: y of sequence 0 (7 real of 7 and 8 rows) differs by',
  ],
  [{ create: () => (x: Value) => add(x, row(x)) }, 'hides what its masks hide: lengths: y changes by'],
  [{ masks: ['lengths'], create: () => (x: Value, _: SequenceContext) => x, examples: [] }, 'it has no examples'],
] as const)('finds what is wrong with %o', (changes, failure) => {
  expect(failuresOf(mixer(changes)).join('\n')).toContain(failure);
});

it('finds a declared mask that is not honoured', () => {
  const leaky = defineBlock({
    kind: 'attention',
    name: 'leaky',
    summary: 'Ignores its masks.',
    masks: ['keyPadding'],
    fields: {},
    examples: [{}],
    create: () => (q: Value, k: Value, v: Value) => attend(q, k, v, { mask: none }),
  });
  expect(failuresOf(leaky).join('\n')).toContain('keyPadding: y changes by');
});

it('finds parameters whose names are odd or change', () => {
  let made = 0;
  const withName = (name: () => string) =>
    mixer({ create: () => module({ [name()]: new Parameter([3], ones) }, (x: Value) => x) });
  expect(failuresOf(withName(() => 'my weight')).join('\n')).toContain('a parameter has an odd name: "my weight"');
  expect(failuresOf(withName(() => `weight_${made++}`)).join('\n')).toContain('the round trip changes its parameters');
});
