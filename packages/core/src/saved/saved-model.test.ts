import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError } from '../error';
import { readDescription } from './saved-model';

const saved = {
  format: 3,
  target: 'cpu',
  providers: ['cpu'],
  machine: {},
  runtimes: [{ runtime: '1.30.0', lacks: [] }],
  dtype: 'float32',
  signature: {
    inputs: [
      { name: 'x', dtype: 'float32', dims: ['tokens', 8] },
      { name: 'lengths', dtype: 'int64', dims: ['batch'], role: 'lengths' },
      { name: 'offsets', dtype: 'int64', dims: ['batch + 1'], derived: { how: 'offsets', from: ['lengths'] } },
    ],
    outputs: [{ name: 'y', dtype: 'float32', dims: ['tokens', 8] }],
    limits: [
      { input: 'lengths', of: 'sum', min: 'tokens', max: 'tokens', problem: 'the lengths do not add up to the number of tokens' },
    ],
  },
  assumptions: [],
  decisions: [
    {
      path: 'mixer',
      op: 'onnxformers.Attend',
      chosen: 'Attend → MultiHeadAttention',
      variant: 'with the mask in its bias',
      kernels: ['com.microsoft.MultiHeadAttention'],
      notes: [{ code: 'maskOverScores', data: { mask: 'causal', kinds: ['causal'] }, text: 'the mask becomes a tensor' }],
      refused: [
        { rule: 'Attend → Attention', reason: { code: 'lacks', data: { feature: 'sinks' }, text: 'it does not support sinks' } },
      ],
    },
  ],
};
const read = (x: unknown) => readDescription(typeof x === 'string' ? x : JSON.stringify(x), 'dir/onnxformers.json');
const withSignature = (patch: object) => ({ ...saved, signature: { ...saved.signature, ...patch } });
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
    ['no format', { ...saved, format: undefined }, 'not a format that can be read; expected format 3, got nothing'],
    ['an older format', { ...saved, format: 1 }, 'not a format that can be read; expected format 3, got 1. Save the model again'],
    [
      'a newer format',
      { ...saved, format: 4 },
      'saved in a newer format; expected format 3 or older, got format 4. Update onnxformers',
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
    [
      'limits that are none',
      withSignature({ limits: 3 }),
      'the limits are damaged; expected a list of limits with an input or a size, bounds and a problem, got 3',
    ],
    [
      'a limit of nothing',
      withSignature({ limits: [{ problem: 'too large', max: 3 }] }),
      'the limits are damaged; expected a list of limits',
    ],
    [
      'a limit that is not a size',
      withSignature({ limits: [{ problem: 'too large', input: 'x', max: 'a+' }] }),
      'the limits are damaged',
    ],
    ['a role that is not a word', withInput({ role: 3 }), 'the signature is damaged'],
    ['providers that are none', { ...saved, providers: 'cpu' }, 'the providers are damaged; expected a list of names, got "cpu"'],
    [
      'assumptions that are none',
      { ...withInput({}), assumptions: 3 },
      'the assumptions are damaged; expected a list of strings, got 3',
    ],
    [
      'an assumption that is none',
      { ...withInput({}), assumptions: ['finite padding', 'finite paddings'] },
      'the model was compiled on an assumption that the runner does not know; expected "prefill into empty cache" or "no empty sequences" or "finite padding", got "finite paddings". Update onnxformers',
    ],
    [
      'a reason without a code',
      { ...saved, decisions: [{ ...saved.decisions[0], refused: [{ rule: 'r', reason: { text: 't', data: {} } }] }] },
      'the decisions are damaged',
    ],
    [
      'decisions that are none',
      { ...withInput({}), decisions: [3] },
      'the decisions are damaged; expected what was chosen and refused for each node, got [3]',
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
