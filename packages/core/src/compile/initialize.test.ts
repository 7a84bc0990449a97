import { expect, it } from 'vitest';
import type { Value } from '../ir/graph';
import { linear } from '../layers/linear';
import { module } from '../module/module';
import { unset, zeros } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { initialize } from './initialize';

const pair = () => {
  const first = linear(5, 3, { role: 'hidden' });
  const tied = first.children.weight as Parameter;
  return module({ first, again: module({ weight: tied }, (x: Value) => x) }, (x: Value) => first(x));
};

it('returns the values of every parameter by checkpoint name, tied ones once', () => {
  const weights = initialize(pair(), { seed: 7 });
  expect([...weights.keys()]).toEqual(['first.weight', 'first.bias']);
  expect(weights.get('first.weight')).toMatchObject({ dtype: 'float32', dims: [3, 5] });
});

it('writes the same bytes for the same seed, others for another', () => {
  const bytes = (seed: number) => initialize(pair(), { seed }).get('first.weight')!.loadSync!().data;
  expect(bytes(7)).toEqual(bytes(7));
  expect(bytes(7)).not.toEqual(bytes(8));
});

it('follows a scheme and a dtype', () => {
  const weights = initialize(pair(), { scheme: 'timm', dtype: 'float16' });
  expect(weights.get('first.bias')!.loadSync!()).toEqual({ dtype: 'float16', dims: [3], data: new Uint16Array(3) });
});

it('names a parameter that nothing initialises, or fills it with zeros on request', () => {
  const m = module({ scale: new Parameter([2], unset), shift: new Parameter([2], zeros) }, (x: Value) => x);
  expect(() => initialize(m)).toThrow(/scale/);
  expect(initialize(m, { uninitialized: 'zeros' }).get('scale')!.loadSync!().data).toEqual(new Float32Array(2));
});

it('refuses an option that it does not know, rather than another scheme than was meant', () => {
  expect(() => initialize(pair(), { shceme: 'vit' } as never)).toThrow(
    'initialize: unknown option "shceme"; got "vit". Did you mean "scheme"? Options: scheme, seed, gain, dtype, uninitialized, compat',
  );
});
