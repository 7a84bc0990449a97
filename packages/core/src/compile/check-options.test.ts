import { describe, expect, it } from 'vitest';
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { add } from '../ops/elementwise';
import { portable } from '../targets/portable';
import { checkCompile } from './check-options';
import { compile } from './compile';

const double = module({}, ({ x }: Record<string, Value>) => ({ y: add(x!, x!) }));
const good = { target: portable(), inputs: { x: ['float32', ['n', 3]] } } as const;

it('an assumption that there is not is an error for the type checker too', () => {
  // @ts-expect-error misspelt
  expect(() => compile(double, { ...good, assumptions: ['finite paddings'] })).toThrow('Did you mean "finite padding"?');
  expect(compile(double, { ...good, assumptions: ['finite padding'] }).assumptions).toEqual(['finite padding']);
});

describe('compile refuses', () => {
  it.each([
    [
      'what is not a module',
      {},
      good,
      'compile: not a module; expected what a block, a registry or module() returns, got an object with no keys',
    ],
    ['no options', double, undefined, 'compile: wrong value; expected options: { target, inputs, … }, got nothing'],
    [
      'an unknown option',
      double,
      { ...good, weight: 3 },
      'compile: unknown option "weight"; got 3. Did you mean "weights"? Options: target, machine',
    ],
    [
      'no target',
      double,
      { inputs: {} },
      'target: wrong value; expected a target, got nothing. Targets are objects: targets.cpu',
    ],
    ['the name of a target', double, { ...good, target: 'cpu' }, 'target: wrong value; expected a target, got "cpu"'],
    [
      'an unknown dtype',
      double,
      { ...good, dtype: 'float8' },
      'dtype: wrong value; expected "float32" or "float16" or "bfloat16", got "float8"',
    ],
    [
      'an assumption that the runner does not know',
      double,
      { ...good, assumptions: ['no empty sequences', 'prefil into empty cache'] },
      'assumptions[1]: wrong value; expected "prefill into empty cache" or "no empty sequences" or "finite padding", got "prefil into empty cache". Did you mean "prefill into empty cache"?',
    ],
    [
      'no inputs',
      double,
      { target: portable() },
      "inputs: wrong value; expected inputs by name, such as { ids: ['int64', ['batch', 'seq']] }, got nothing",
    ],
    [
      'an input that is none',
      double,
      { ...good, inputs: { x: 'float32' } },
      "inputs.x: wrong value; expected a dtype, dims and perhaps a role, such as ['float32', ['batch', 'seq', 64]], got \"float32\"",
    ],
    ['an input of no dtype', double, { ...good, inputs: { x: ['floot32', []] } }, 'got "floot32". Did you mean "float32"?'],
    [
      'a size below 0',
      double,
      { ...good, inputs: { x: ['float32', ['n', -3]] } },
      'inputs.x[1][1]: wrong value; expected a size of at least 0, or the name of a size, got -3',
    ],
    [
      'a size that is not a number',
      double,
      { ...good, inputs: { x: ['float32', [Number.NaN]] } },
      'inputs.x[1][0]: wrong value; expected a size of at least 0, or the name of a size, got NaN',
    ],
    [
      'a size that says nothing',
      double,
      { ...good, inputs: { x: ['float32', ['n+']] } },
      'inputs.x[1][0]: "n+" is not a size; expected an expression such as',
    ],
    [
      'a layout that is none',
      double,
      { ...good, layout: 'dense' },
      'layout: wrong value; expected "padded" or "packed", got "dense"',
    ],
    ['a state that is none', double, { ...good, state: { io: -1 } }, "state: wrong value; expected 'io', { io: capacity }"],
    [
      'weights that are not a map',
      double,
      { ...good, weights: { w: 1 } },
      'weights: wrong value; expected a Map of weights by name, got an object with w. new Map(Object.entries(weights)), or initialize(module)',
    ],
    ['a machine that is none', double, { ...good, machine: 90 }, 'machine: wrong value; expected properties of a machine'],
    [
      'an unknown part of a machine',
      double,
      { ...good, machine: { cuddn: 'none' } },
      'machine: unknown option "cuddn"; got "none". Did you mean "cudnn"? Options: runtime, sm, cudnn',
    ],
    [
      'a compute capability that is none',
      double,
      { ...good, machine: { sm: 9 } },
      'machine.sm: wrong value; expected the compute capability of a GPU times ten, 50 to 199, got 9. 9.0 is written 90',
    ],
    [
      'a version that is none',
      double,
      { ...good, machine: { cudnn: 'newest' } },
      'machine.cudnn: wrong value; expected a version such as "9.14", or "none", got "newest"',
    ],
    [
      'taps that are not a list',
      double,
      { ...good, taps: 'stack' },
      'taps: wrong value; expected a list of module paths, got "stack"',
    ],
    ['a flag that is none', double, { ...good, training: 'yes' }, 'training: wrong value; expected true or false, got "yes"'],
  ])('%s', (_, m, options, message) => {
    const call = () => compile(m as never, options as never);
    expect(call).toThrow(ConfigError);
    expect(call).toThrow(message);
  });
});

it('compile accepts undefined options', () => {
  checkCompile(double, { ...good, weights: undefined, layout: undefined });
});

it('sizes may be written in any form', () => {
  const model = compile(double, { ...good, inputs: { x: ['float32', ['1+n']] } });
  expect(model.signature.outputs[0]!.dims).toEqual(model.signature.inputs[0]!.dims);
  expect(() => portable(17 as never)).toThrow('portable: unsupported opset; expected 18, 21 or 23, got 17');
});

it('compile reports its progress, and stops with an error that is thrown there', () => {
  const seen: unknown[] = [];
  compile(double, { ...good, onProgress: (progress) => void seen.push(progress) });
  expect(seen).toEqual([0, 0.5, 1].map((fraction) => ({ phase: 'compile', fraction })));
  const stop = () => {
    throw new Error('enough');
  };
  expect(() => compile(double, { ...good, onProgress: stop })).toThrow('enough');
  expect(() => compile(double, { ...good, onProgress: 3 as never })).toThrow(
    'onProgress: wrong value; expected a function that is called with the progress, got 3',
  );
});
