import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError } from '../error';
import { readDescription } from './saved-model';

const saved = {
  format: 1,
  target: 'cpu',
  providers: ['cpu'],
  machine: {},
  runtimes: [{ runtime: '1.30.0', lacks: [] }],
  dtype: 'float32',
  signature: {
    inputs: [
      { name: 'x', dtype: 'float32', dims: ['tokens', 8] },
      { name: 'lengths', dtype: 'int64', dims: ['batch'] },
      { name: 'offsets', dtype: 'int64', dims: ['batch + 1'], derived: { how: 'offsets', from: ['lengths'], plus: 'tokens' } },
    ],
    outputs: [{ name: 'y', dtype: 'float32', dims: ['tokens', 8] }],
  },
  assumptions: [],
  decisions: [],
};
const read = (x: unknown) => readDescription(typeof x === 'string' ? x : JSON.stringify(x), 'dir/onnxformers.json');
const withInput = (patch: object) => ({
  ...saved,
  signature: { ...saved.signature, inputs: [{ ...saved.signature.inputs[0], ...patch }] },
});

describe('the description of a saved model', () => {
  it('is read', () => {
    expect(read(saved)).toEqual(saved);
  });

  it.each([
    ['no JSON', '{"format": 1,', 'not JSON; got "{"format": 1,". Save the model again'],
    ['a list', [], 'not the description of a model; expected an object with a format, got []'],
    ['null', null, 'not the description of a model; expected an object with a format, got null'],
    ['no format', { ...saved, format: undefined }, 'no format that can be read; expected a number from 1, got nothing'],
    [
      'a newer format',
      { ...saved, format: 2 },
      'saved in a newer format; expected format 1 or older, got format 2. Update onnxformers',
    ],
    ['no signature', { ...saved, signature: 3 }, 'the signature is damaged; expected lists of inputs and outputs, got 3'],
    [
      'a dtype that is none',
      withInput({ dtype: 'floaty' }),
      'the signature is damaged; expected inputs and outputs with name, dtype and dims',
    ],
    ['a size that is none', withInput({ dims: ['a+'] }), 'the signature is damaged'],
    ['a size that is an object', withInput({ dims: [{}] }), 'the signature is damaged'],
    ['a derivation from nothing', withInput({ derived: { how: 'offsets', from: 3 } }), 'the signature is damaged'],
    ['providers that are none', { ...saved, providers: 'cpu' }, 'the providers are damaged; expected a list of names, got "cpu"'],
    [
      'assumptions that are none',
      { ...withInput({}), assumptions: 3 },
      'the assumptions are damaged; expected a list of texts, got 3',
    ],
    [
      'decisions that are none',
      { ...withInput({}), decisions: [3] },
      'the decisions are damaged; expected a list of objects, got [3]',
    ],
    [
      'versions of the runtime that are none',
      { ...withInput({}), runtimes: ['1.30.0'] },
      'the versions of the runtime are damaged; expected a list of { runtime, lacks }, got ["1.30.0"]',
    ],
    ['a machine that is none', { ...withInput({}), machine: [] }, 'the machine is damaged; expected an object, got []'],
  ])('is refused: %s', (_, content, message) => {
    expect(() => read(content)).toThrow(FileError);
    expect(() => read(content)).toThrow(`dir/onnxformers.json: ${message}`);
  });

  it('is refused or read, whatever it is', () => {
    const anything = fc.oneof(
      fc.json(),
      fc.string(),
      fc
        .tuple(fc.constantFrom(...Object.keys(saved)), fc.jsonValue())
        .map(([key, value]) => JSON.stringify({ ...saved, [key]: value })),
    );
    fc.assert(
      fc.property(anything, (text) => {
        try {
          read(text);
        } catch (error) {
          expect(error).toBeInstanceOf(FileError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
