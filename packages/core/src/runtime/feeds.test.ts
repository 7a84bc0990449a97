import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile, type Port } from '../compile/compile';
import { initialize } from '../compile/initialize';
import { FeedError } from '../error';
import type { Assumption } from '../ir/assumption';
import type { Value } from '../ir/graph';
import { dropout } from '../layers/dropout';
import { linear } from '../layers/linear';
import { module } from '../module/module';
import { portable } from '../targets/portable';
import { tensor, toArray } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { expectClose } from '../testing/close';
import { prepareFeeds } from './feeds';
import { arithmetic, attention, checkAssumed, completeFeeds, counting, lookup } from './models.test-helper';
import { numbersOf } from './numbers';
import { createRunner } from './runner';

const int64 = (...values: number[]): Tensor => tensor('int64', [values.length], values);
const numbers = (t: Tensor | undefined): number[] => [...toArray(t!).data];
const rows = (x: Tensor, from: number, to: number): Tensor => {
  const width = x.dims.at(-1)!;
  return tensor('float32', [1, to - from, width], numbers(x).slice(from * width, to * width));
};
const x = tensor(
  'float32',
  [1, 7, 8],
  Array.from({ length: 56 }, (_, i) => Math.sin(i)),
);

describe('feeds are refused', () => {
  const { signature } = arithmetic();
  const [a, b] = [counting(2, 3), counting(2, 3)];
  const refused = (feeds: unknown): string => {
    try {
      completeFeeds(signature, feeds as Record<string, Tensor>, 0);
    } catch (error) {
      expect(error).toBeInstanceOf(FeedError);
      return (error as Error).message;
    }
    return 'taken';
  };

  it.each([
    ['missing', { a }, 'feed "b": missing; expected float32[n, 3], got nothing'],
    ['unknown', { a, b, aa: a }, 'feed "aa": the model has no input of this name; got "aa". Did you mean "a"? Inputs: a, b'],
    [
      'outputs',
      { a, b, product: a },
      'feed "product": the model has no input of this name; got "product". It is an output. Inputs: a, b',
    ],
    [
      'of another dtype',
      { a, b: tensor('float16', [2, 3], [1, 2, 3, 4, 5, 6]) },
      'feed "b": wrong dtype; expected float32[n, 3], got float16[2, 3]. castTensor(feed, \'float32\') converts it',
    ],
    [
      'of another sort of number',
      { a, b: tensor('int64', [2, 3], [1, 2, 3, 4, 5, 6]) },
      'feed "b": wrong dtype; expected float32[n, 3], got int64[2, 3]',
    ],
    ['of another rank', { a, b: counting(6) }, 'feed "b": wrong number of dims; expected float32[n, 3], got float32[6]'],
    ['of a wrong size', { a, b: counting(2, 5) }, 'feed "b": has the wrong size on axis 1; expected 3, got 5'],
    [
      'with two values for one size name',
      { a, b: counting(5, 3) },
      'feed "b": has the wrong size on axis 0; expected n = 2 (n is 2 by axis 0 of "a"), got 5',
    ],
    [
      'with too few elements',
      { a, b: { ...b, data: new Float32Array(5) } },
      'feed "b": the number of elements does not match the dims; expected 6 for [2, 3], got 5',
    ],
    [
      'in the wrong array',
      { a, b: { ...b, data: new Float64Array(6) } },
      'feed "b": the elements are in the wrong type of array; expected float32 in a Float32Array, got a Float64Array of 6. tensor(',
    ],
    [
      'with dims that are not sizes',
      { a, b: { ...b, dims: [-2, 3] } },
      'feed "b": a dim is not a size; expected integers from 0, got [-2, 3]',
    ],
    [
      'as plain numbers',
      { a, b: [1, 2] },
      'feed "b": not a tensor; expected a tensor float32[n, 3], got [1, 2]. Make one with tensor(dtype, dims, values)',
    ],
    ['as nothing', null, 'feeds: not feeds; expected an object with a tensor for each input, got null'],
  ])('%s', (_, feeds, message) => {
    expect(refused(feeds)).toContain(message);
  });

  it('before the runtime sees them, and the next run is not harmed', async () => {
    const run = await createRunner(arithmetic(), ort);
    await expect(run({ a })).rejects.toThrow(FeedError);
    expect(numbers((await run({ a, b })).sum)).toEqual([2, 4, 6, 8, 10, 12]);
  });
});

it('4-bit integers are two to a byte', () => {
  const signature = { inputs: [{ name: 'w', dtype: 'int4', dims: ['n'] }], outputs: [] } as const;
  expect(completeFeeds(signature, { w: tensor('int4', [5], [1, -2, 3, -4, 5]) }, 0).w!.data).toHaveLength(3);
  expect(() => completeFeeds(signature, { w: { dtype: 'int4', dims: [5], data: new Uint8Array(5) } }, 0)).toThrow(
    'feed "w": the number of elements does not match the dims; expected 5 for [5], got 5',
  );
});

describe('a cache that grows', () => {
  const model = attention({ x: ['float32', ['batch', 'seq', 8]] }, { state: 'io' });

  it('is empty before the first call, and continues with what the last one gave', async () => {
    const run = await createRunner(model, ort);
    const whole = await run({ x });
    const first = await run({ x: rows(x, 0, 4) });
    const past = {
      'past_key_values.0.key': first['present.0.key']!,
      'past_key_values.0.value': first['present.0.value']!,
    };
    const second = await run({ x: rows(x, 4, 7), ...past });
    expect(second['present.0.key']!.dims).toEqual([1, 2, 7, 4]);
    const joined = [...numbers(first.y), ...numbers(second.y)];
    // Heads stand before rows.
    const expected = numbers(whole.y);
    const at = (head: number, row: number) => (row < 4 ? head * 16 + row * 4 : 32 + head * 12 + (row - 4) * 4);
    for (const head of [0, 1])
      for (let row = 0; row < 7; row++)
        for (let c = 0; c < 4; c++) expect(joined[at(head, row) + c]).toBeCloseTo(expected[(head * 7 + row) * 4 + c]!, 5);
  });

  it('is fed completely or not at all', () => {
    const key = tensor('float32', [1, 2, 3, 4], new Array(24).fill(0));
    expect(() => completeFeeds(model.signature, { x, 'past_key_values.0.key': key }, 0)).toThrow(
      'feed "past_key_values.0.value": missing; expected float32[batch, 2, past, 4], because "past_key_values.0.key" is given, got nothing. Feed every present.* of the last call, or none before the first',
    );
  });

  it('allows prefill into an empty cache only, if that was assumed', () => {
    const past = tensor('float32', [2, 2, 3, 4], new Array(48).fill(0));
    const all = (batch: number, seq: number) => {
      const pasts = { 'past_key_values.0.key': past, 'past_key_values.0.value': past };
      return completeFeeds(model.signature, { x: counting(batch, seq, 8), ...pasts }, 0);
    };
    const check = (assumptions: readonly Assumption[], seq: number) => checkAssumed(assumptions, model.signature, all(2, seq));
    expect(() => check(['prefill into empty cache'], 5)).toThrow(
      'feed "x": the model was compiled on the assumption \'prefill into empty cache\'; expected one new token for each sequence if the cache is not empty, got 5 new tokens for each of 2 sequences',
    );
    check(['prefill into empty cache'], 1);
    check([], 5);
    checkAssumed(['prefill into empty cache'], model.signature, completeFeeds(model.signature, { x: counting(2, 5, 8) }, 0));
  });
});

describe('no empty sequences, if that was assumed', () => {
  const ports: Record<string, Port> = {
    lengths: { name: 'lengths', dtype: 'int64', dims: ['batch'], role: 'lengths' },
    offsets: { name: 'offsets_of_lengths', dtype: 'int64', dims: ['batch + 1'], derived: { how: 'offsets', from: ['lengths'] } },
    padding: { name: 'padding', dtype: 'int64', dims: ['batch', 'seq'], role: 'keyPadding' },
    pairs: { name: 'pairs', dtype: 'bool', dims: ['batch', 1, 'seq', 'seq'], role: 'denseMask' },
    added: { name: 'added', dtype: 'float32', dims: ['batch', 'seq'], role: 'additiveMask' },
    memory: { name: 'memory_padding', dtype: 'bool', dims: ['batch', 'memory_seq'], role: 'memoryKeyPadding' },
    own: { name: 'own_lengths', dtype: 'int64', dims: ['batch'] },
    past: { name: 'past_lengths', dtype: 'int64', dims: ['batch'], derived: { how: 'past_lengths', from: [] } },
  };
  const feed = (name: string, dims: number[], data: number[]): [Port, Tensor] => [
    ports[name]!,
    tensor(ports[name]!.dtype, dims, data),
  ];
  const check = (fed: [Port, Tensor][], assumptions: readonly Assumption[] = ['no empty sequences']) =>
    checkAssumed(
      assumptions,
      { inputs: fed.map(([port]) => port), outputs: [] },
      Object.fromEntries(fed.map(([port, t]) => [port.name, t])),
    );

  it('by lengths', () => {
    const lengths = (...n: number[]) => [feed('lengths', [n.length], n)];
    expect(() => check(lengths(3, 0, 2))).toThrow(
      'feed "lengths": the model was compiled on the assumption \'no empty sequences\'; expected a key that may be attended to, got none in sequence 1',
    );
    check(lengths(3, 1, 2));
    check(lengths(3, 0, 2), []);
  });
  it('by roles, not by names: offsets begin with 0, and numbers of the model itself are its own', () => {
    check([feed('lengths', [3], [37, 100, 5]), feed('offsets', [4], [0, 37, 137, 142])]);
    check([feed('own', [2], [0, 3])]);
  });
  it('by padding of the sequences and of the memory', () => {
    expect(() => check([feed('memory', [2, 3], [1, 0, 0, 0, 0, 0])])).toThrow('feed "memory_padding": the model was compiled on');
    check([feed('memory', [2, 3], [0, 0, 1, 0, 1, 0])]);
    expect(() => check([feed('added', [1, 2], [-3.4e38, -3.4e38])])).toThrow('none in sequence 0');
    check([feed('added', [1, 2], [-3.4e38, -1e9])]);
  });
  it('by dense masks, query by query', () => {
    expect(() => check([feed('pairs', [1, 1, 2, 2], [1, 0, 0, 0])])).toThrow('none for head 0, query 1 of sequence 0');
    check([feed('pairs', [1, 1, 2, 2], [1, 0, 0, 1])]);
  });
  it('by all of them together', () => {
    const padding = feed('padding', [2, 3], [0, 1, 1, 1, 1, 0]);
    expect(() => check([feed('lengths', [2], [1, 2]), padding])).toThrow(
      'feed "lengths", feed "padding": the model was compiled on',
    );
    check([feed('lengths', [2], [2, 2]), padding]);
    // With a cache, lengths say nothing of the keys.
    check([feed('lengths', [2], [1, 2]), padding, feed('past', [2], [1, 1])]);
    const pairs = feed('pairs', [1, 1, 3, 3], [0, 1, 0, 1, 0, 0, 0, 0, 1]);
    expect(() => check([padding, pairs])).toThrow('none for head 0, query 1 of sequence 0');
  });
});

describe('the length of a call is counted in its new tokens', () => {
  const x = ['float32', ['batch', 'seq', 8]] as const;
  const flags = (...dims: number[]) => tensor('bool', dims, new Array(dims.reduce((a, b) => a * b)).fill(1));
  const kept = (n: number) => {
    const past = tensor('float32', [2, 2, n, 4], new Array(16 * n).fill(0));
    return { 'past_key_values.0.key': past, 'past_key_values.0.value': past };
  };

  it('for prefill into empty cache', () => {
    const { signature } = attention({ pairs: ['bool', [1, 1, 'seq', 'past + seq'], 'denseMask'], x }, { state: 'io' });
    const all = (seq: number) =>
      completeFeeds(signature, { pairs: flags(1, 1, seq, 3 + seq), x: counting(2, seq, 8), ...kept(3) }, 0);
    expect(() => checkAssumed(['prefill into empty cache'], signature, all(2))).toThrow(
      'got 2 new tokens for each of 2 sequences',
    );
    checkAssumed(['prefill into empty cache'], signature, all(1));
  });

  it('for the room in a cache', () => {
    const { signature } = attention({ attention_mask: ['bool', ['batch', 7]], x }, { state: { io: 7 } });
    const all = (pastLengths: number) =>
      completeFeeds(
        signature,
        { attention_mask: flags(2, 7), x: counting(2, 3, 8), past_lengths: int64(pastLengths, 0), ...kept(7) },
        0,
      );
    expect(all(4).past_lengths!.dims).toEqual([2]);
    expect(() => all(5)).toThrow('expected 0 to 4 (7 - seq), by state.io, got 5 at [0]');
  });

  it('without sequences', () => {
    const { signature } = attention({ x: ['float32', ['n', 't', 8]] });
    expect(completeFeeds(signature, { x: counting(0, 3, 8) }, 0).x!.dims).toEqual([0, 3, 8]);
  });
});

describe('a cache of fixed capacity', () => {
  const model = attention({ x: ['float32', ['batch', 'seq', 8]] }, { state: { io: 7 } });
  const pasts = (outputs: Record<string, Tensor>) => ({
    'past_key_values.0.key': outputs['present.0.key']!,
    'past_key_values.0.value': outputs['present.0.value']!,
  });

  it('is empty before the first call', async () => {
    const run = await createRunner(model, ort);
    const whole = await run({ x });
    const first = await run({ x: rows(x, 0, 4) });
    expect(first['present.0.key']!.dims).toEqual([1, 2, 7, 4]);
    const second = await run({ x: rows(x, 4, 7), past_lengths: int64(4), ...pasts(first) });
    expectClose(second['present.0.key']!, whole['present.0.key']!, { atol: 1e-5, rtol: 0 });
    const y = numbers(whole.y);
    expect(numbers(second.y).map((v, i) => Math.abs(v - y[i < 12 ? 16 + i : 28 + 16 + i - 12]!) < 1e-5)).not.toContain(false);
  });

  it('requires past_lengths after the first call', async () => {
    const first = await (await createRunner(model, ort))({ x: rows(x, 0, 4) });
    expect(() => completeFeeds(model.signature, { x: rows(x, 4, 7), ...pasts(first) }, 0)).toThrow(
      'feed "past_lengths": missing; expected int64[batch]: how many positions of "past_key_values.0.key" are in use, got nothing. Feed it with every call after the first',
    );
  });

  it('takes no more than fits', async () => {
    const first = await (await createRunner(model, ort))({ x: rows(x, 0, 4) });
    const feeds = (pastLengths: number) => ({ x: rows(x, 4, 7), past_lengths: int64(pastLengths), ...pasts(first) });
    expect(() => completeFeeds(model.signature, feeds(5), 0)).toThrow(
      'feed "past_lengths": the capacity of the cache is too small for the new tokens; expected 0 to 4 (7 - seq), by state.io, got 5 at [0]. Compile with a larger capacity',
    );
    expect(() => completeFeeds(model.signature, feeds(-1), 0)).toThrow('got -1 at [0]');
    expect(() => completeFeeds(model.signature, { x: counting(1, 8, 8) }, 0)).toThrow(
      'expected 0 to -1 (7 - seq), by state.io, got 0 at [0]',
    );
    completeFeeds(model.signature, feeds(4), 0);
  });
});

describe('a packed batch', () => {
  const model = attention({ x: ['float32', ['tokens', 8]], lengths: ['int64', ['batch']] }, { layout: 'packed' });
  const packed = { ...x, dims: [7, 8] };

  it('get their offsets from the lengths, and each sequence attends only to itself', async () => {
    const all = completeFeeds(model.signature, { x: packed, lengths: int64(3, 0, 4) }, 0);
    expect(numbers(all.offsets_of_lengths)).toEqual([0, 3, 3, 7]);
    const { y } = await (await createRunner(model, ort))({ x: packed, lengths: int64(3, 0, 4) });
    const alone = await (await createRunner(attention({ x: ['float32', ['batch', 'seq', 8]] }), ort))({ x: rows(x, 3, 7) });
    const [all7, own] = [numbers(y), numbers(alone.y)];
    for (const head of [0, 1]) for (let i = 0; i < 16; i++) expect(all7[head * 28 + 12 + i]).toBeCloseTo(own[head * 16 + i]!, 5);
  });

  it('must be as many as the sum of the lengths', () => {
    expect(() => completeFeeds(model.signature, { x: packed, lengths: int64(3, 5) }, 0)).toThrow(
      'feed "lengths": the lengths do not add up to the number of tokens; expected 7 (tokens), got 8',
    );
    expect(() => completeFeeds(model.signature, { x: packed, lengths: int64(9, -2) }, 0)).toThrow(
      'feed "lengths": a negative length; expected 0 or more, got -2 at [1]',
    );
  });
});

describe('draws', () => {
  const noisy = () => {
    const layer = linear(3, 5);
    return module({ layer }, (inputs: Record<string, Value>) => ({ y: dropout(layer(inputs.x!), 0.5) }));
  };
  const compiled = (draws?: { seed: number }) => {
    const m = noisy();
    const inputs = { x: ['float32', ['n', 3]] } as const;
    return compile(m, { target: portable(21), inputs, weights: initialize(m), training: true, ...(draws && { draws }) });
  };

  it('from a seed differ from run to run, and are the same in the same run of another runner', async () => {
    const model = compiled({ seed: 5 });
    const [one, two] = [await createRunner(model, ort), await createRunner(model, ort)];
    const feeds = { x: counting(4, 3) };
    const [first, second] = [numbers((await one(feeds)).y), numbers((await one(feeds)).y)];
    expect(first).not.toEqual(second);
    // A run that was refused is none.
    await expect(two({})).rejects.toThrow(FeedError);
    expect(numbers((await two(feeds)).y)).toEqual(first);
    expect(numbers((await two(feeds)).y)).toEqual(second);
  });

  it('as inputs must be fed', () => {
    const { signature } = compiled();
    expect(() => completeFeeds(signature, { x: counting(4, 3) }, 0)).toThrow(
      /feed ".*dropout.*": missing; expected float32\[n, 5\], got nothing\. Random numbers \(uniform\); compile with draws/,
    );
  });
});

it('parameters that are inputs are fed by their names', async () => {
  const model = lookup({ parameters: (path) => (path === 'layers.0.bias' ? 'input' : 'stored') });
  const run = await createRunner(model, ort);
  const ids = tensor('int64', [1, 2], [3, 4]);
  const [zero, one] = [0, 1].map((v) => tensor('float32', [5], new Array(5).fill(v)));
  const [y0, y1] = [
    numbers((await run({ ids, 'layers.0.bias': zero! })).y),
    numbers((await run({ ids, 'layers.0.bias': one! })).y),
  ];
  y1.forEach((v, i) => {
    expect(v).toBeCloseTo(y0[i]! + 1, 5);
  });
  await expect(run({ ids })).rejects.toThrow('feed "layers.0.bias": missing; expected float32[5], got nothing');
});

describe('derived inputs', () => {
  const model = attention({ x: ['float32', ['tokens', 8]], lengths: ['int64', ['batch']] }, { layout: 'packed' });
  const packed = { ...x, dims: [7, 8] };
  const table = prepareFeeds(model.signature);
  const at = model.signature.inputs.findIndex((p) => p.name === 'offsets_of_lengths');
  const offsets = (lengths: Tensor) => table.complete({ x: packed, lengths }).tensors[at]!;

  it('are cached while the values of lengths are the same', () => {
    const lengths = int64(3, 4);
    const first = offsets(lengths);
    expect(offsets(lengths)).toBe(first);
    expect(offsets(int64(3, 4))).toBe(first);
    // The same array with other lengths in it.
    (lengths.data as BigInt64Array).set([5n, 2n]);
    expect(numbers(offsets(lengths))).toEqual([0, 5, 7]);
    expect(numbers(first)).toEqual([0, 3, 7]);
    expect(numbers(offsets(int64(1, 2, 4)))).toEqual([0, 1, 3, 7]);
  });
});

describe('tensors of the runtime', () => {
  const { signature } = arithmetic();
  const own = (dims: number[]) => new ort.Tensor('float32', counting(...dims).data as Float32Array, dims);

  it('are passed on without a copy, together with others', async () => {
    const run = await createRunner(arithmetic(), ort);
    expect(numbers((await run({ a: own([2, 3]), b: counting(2, 3) })).product)).toEqual([1, 4, 9, 16, 25, 36]);
    await expect(run({ a: own([2, 5]), b: counting(2, 3) })).rejects.toThrow(
      'feed "a": has the wrong size on axis 1; expected 3, got 5',
    );
    const other = new ort.Tensor('int64', BigInt64Array.of(1n, 2n, 3n), [1, 3]);
    await expect(run({ a: other, b: counting(1, 3) })).rejects.toThrow(
      'feed "a": wrong dtype; expected float32[n, 3], got int64[1, 3]',
    );
    await run.dispose();
  });

  it('on a GPU are checked by dtype and dims, and their elements are not read', () => {
    const there = (dims: number[], type = 'float32') => ({
      type,
      dims,
      location: 'gpu-buffer',
      get data(): unknown {
        throw new Error('not here');
      },
    });
    const a = there([2, 3]);
    const { tensors, handed } = prepareFeeds(signature).complete({ a, b: counting(2, 3) });
    expect([tensors[0]!.dims, handed[0] === a, handed[1]]).toEqual([[2, 3], true, undefined]);
    const refused = (a: ReturnType<typeof there>) => () => prepareFeeds(signature).complete({ a, b: counting(2, 3) });
    expect(refused(there([2, 5]))).toThrow('has the wrong size on axis 1; expected 3, got 5');
    expect(refused(there([2, 3], 'float16'))).toThrow('wrong dtype; expected float32[n, 3], got float16[2, 3]');
    const packed = attention({ x: ['float32', ['tokens', 8]], lengths: ['int64', ['batch']] }, { layout: 'packed' });
    expect(() => prepareFeeds(packed.signature).complete({ x: { ...x, dims: [7, 8] }, lengths: there([2], 'int64') })).toThrow(
      'feed "lengths": the runner cannot read it, but derives "offsets_of_lengths" from it',
    );
  });
});

it('feeds can be written to as soon as the run was started', async () => {
  const run = await createRunner(arithmetic(), ort);
  const a = counting(1, 3);
  const results = [0, 1, 2].map((i) => {
    (a.data as Float32Array).fill(i);
    return run({ a, b: a }).then(({ sum }) => numbers(sum));
  });
  (a.data as Float32Array).fill(9);
  expect(await Promise.all(results)).toEqual([
    [0, 0, 0],
    [2, 2, 2],
    [4, 4, 4],
  ]);
  await run.dispose();
});

it('numbers of every dtype are read as they are, to both ends', () => {
  for (const dtype of ['int64', 'uint64', 'int32', 'float16', 'bool', 'float32'] as const) {
    const signed = dtype === 'int64' || dtype === 'int32' || dtype === 'float16' || dtype === 'float32';
    const values =
      dtype === 'bool'
        ? [0, 1, 1]
        : [0, 1, 2047, signed ? -2047 : 3, ...(/64$/.test(dtype) ? [2 ** 40 + 1, signed ? -(2 ** 40) : 5] : [])];
    expect(Array.from(numbersOf(tensor(dtype, [values.length], values)))).toEqual(values);
  }
});
