import { describe, expect, it } from 'vitest';
import { WeightError } from '../error';
import { tensor, toArray } from '../tensor/convert';
import { lazyTensor } from './lazy';
import { matchWeights, type WeightSource } from './load';
import { nameMap } from './name-map';

const counting = (...dims: number[]) =>
  tensor(
    'float32',
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => i),
  );
const wanted = [
  ['layers.0.mixer.q_proj.weight', { dims: [16, 16] }],
  ['layers.0.mixer.q_proj.bias', { dims: [16] }],
] as const;
const given = (over: Record<string, ReturnType<typeof counting>> = {}): WeightSource =>
  new Map(
    Object.entries({
      'layers.0.mixer.q_proj.weight': counting(16, 16),
      'layers.0.mixer.q_proj.bias': counting(16),
      ...over,
    }),
  );
const without = (source: WeightSource, name: string) => new Map([...source].filter(([n]) => n !== name));

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(WeightError);
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}

describe('matchWeights', () => {
  it('finds every weight', async () => {
    const { weights, report } = matchWeights(wanted, given());
    expect(report).toEqual({
      loaded: wanted.map(([path]) => path),
      missing: [],
      unknown: [],
      mismatched: [],
      repeated: [],
      cast: [],
    });
    expect(await weights.get('layers.0.mixer.q_proj.bias')!.load()).toEqual(counting(16));
    expect(weights.get('layers.0.mixer.q_proj.bias')!.loadSync!()).toEqual(counting(16));
  });

  it('names dims that do not fit', () => {
    expect(messageOf(() => matchWeights(wanted, given({ 'layers.0.mixer.q_proj.weight': counting(16, 8) })))).toBe(
      'weight "layers.0.mixer.q_proj.weight": does not fit; expected dims [16, 16], got [16, 8]. Is it the checkpoint of this config? Weights in another layout can be converted by expressWeight',
    );
  });

  it('names what is missing, and what was perhaps meant', () => {
    expect(messageOf(() => matchWeights(wanted, without(given(), 'layers.0.mixer.q_proj.bias')))).toBe(
      'weight "layers.0.mixer.q_proj.bias": missing; expected dims [16], got nothing. Add it, or load the weights that match by matchWeights with partial: true',
    );
    const misspelt = without(given({ 'layers.0.mixer.q_prj.bias': counting(16) }), 'layers.0.mixer.q_proj.bias');
    expect(messageOf(() => matchWeights(wanted, misspelt))).toBe(
      'weight "layers.0.mixer.q_proj.bias": missing; expected dims [16], got nothing. The weights contain an unused "layers.0.mixer.q_prj.bias". ' +
        'Also: weight "layers.0.mixer.q_prj.bias" unknown',
    );
  });

  it('names what is unknown', () => {
    expect(messageOf(() => matchWeights(wanted, given({ 'layers.0.mixer.q_proj.biases': counting(16) })))).toBe(
      'weight "layers.0.mixer.q_proj.biases": unknown; the model has no weight of this name; got "layers.0.mixer.q_proj.biases". Did you mean "layers.0.mixer.q_proj.bias"?',
    );
    expect(messageOf(() => matchWeights(wanted, given({ z: counting(1) })))).toContain(
      'Remove it, or match it by matchWeights with a nameMap or partial: true',
    );
  });

  it('counts the faults it does not spell out', () => {
    const many = Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`stray.${i}`, counting(1)]));
    expect(messageOf(() => matchWeights(wanted, given(many)))).toMatch(
      /Also: weight "stray.1" unknown, weight "stray.2" unknown, weight "stray.3" unknown, 7 more$/,
    );
  });

  it('refuses an option that it does not know', () => {
    expect(() => matchWeights([], new Map(), { partail: true } as never)).toThrow(
      'matchWeights: unknown option "partail"; got true. Did you mean "partial"? Options: partial, nameMap, aliases',
    );
  });

  it('loads what matches and reports the rest with partial', () => {
    const source = without(
      given({ stray: counting(1), 'layers.0.mixer.q_proj.weight': counting(7) }),
      'layers.0.mixer.q_proj.bias',
    );
    const { weights, report } = matchWeights(wanted, source, { partial: true });
    expect([...weights.keys()]).toEqual([]);
    expect(report).toEqual({
      loaded: [],
      missing: ['layers.0.mixer.q_proj.bias'],
      unknown: ['stray'],
      mismatched: ['layers.0.mixer.q_proj.weight'],
      repeated: [],
      cast: [],
    });
  });

  it('casts floats when loaded and reports it, and refuses to convert integers to floats', async () => {
    const { weights, report } = matchWeights(
      [['a', { dims: [2], dtype: 'float16' }]],
      new Map([['a', tensor('float32', [2], [1, 0.1])]]),
    );
    expect(report.cast).toEqual([{ path: 'a', from: 'float32', to: 'float16' }]);
    expect(weights.get('a')).toMatchObject({ dtype: 'float16', byteLength: 4 });
    expect(await weights.get('a')!.load()).toEqual(tensor('float16', [2], [1, 0.1]));
    expect(weights.get('a')!.loadSync!().dtype).toBe('float16');
    expect(
      messageOf(() => matchWeights([['a', { dims: [2], dtype: 'float32' }]], new Map([['a', tensor('int8', [2], [1, 2])]]))),
    ).toBe(
      'weight "a": does not fit; expected float32, got int8. Is it the checkpoint of this config? Weights in another layout can be converted by expressWeight',
    );
  });

  it('reads foreign names through a map, and does not change other names', () => {
    const map = nameMap([['h.{i}.attn.{x}', 'layers.{i}.mixer.{x}']]);
    const source = new Map([
      ['h.0.attn.q_proj.weight', counting(16, 16)],
      ['layers.0.mixer.q_proj.bias', counting(16)],
    ]);
    expect(matchWeights(wanted, source, { nameMap: map }).report.loaded).toHaveLength(2);
    expect(messageOf(() => matchWeights(wanted, new Map([...source, ...given()]), { nameMap: map }))).toBe(
      'weight "layers.0.mixer.q_proj.weight": duplicate name; expected one of them, got "h.0.attn.q_proj.weight" and "layers.0.mixer.q_proj.weight"',
    );
  });

  it('accepts a tied weight under any of its names', async () => {
    const aliases = new Map([['head.weight', 'embed.weight']]);
    const want = [['embed.weight', { dims: [3] }]] as const;
    const [first, second] = [tensor('float32', [3], [1, 2, 3]), tensor('float32', [3], [4, 5, 6])];
    const load = async (source: WeightSource) =>
      toArray(await matchWeights(want, source, { aliases }).weights.get('embed.weight')!.load()).data;
    expect([...(await load(new Map([['head.weight', second]])))]).toEqual([4, 5, 6]);
    expect([...(await load(new Map([['embed.weight', lazyTensor(first)]])))]).toEqual([1, 2, 3]);
  });

  it('takes weights that a function makes, and checks them when they are made', async () => {
    const want = [['a', { dims: [2], dtype: 'float16' }]] as const;
    const made = matchWeights(want, new Map([['a', async () => tensor('float32', [2], [3, 4])]])).weights.get('a')!;
    expect(await made.load()).toEqual(tensor('float16', [2], [3, 4]));
    const wrong = matchWeights(want, new Map([['a', () => tensor('float32', [3], [3, 4, 5])]])).weights.get('a')!;
    await expect(wrong.load()).rejects.toThrow('weight "a": does not fit; expected dims [2], got [3]');
  });
});

describe('a tied weight that a checkpoint contains under both names', () => {
  const want = [['embed.weight', { dims: [2, 3], dtype: 'float32' }]] as const;
  const aliases = new Map([['head.weight', 'embed.weight']]);
  const numbers = [1, 2, 3, 4, 5, 6];
  const table = tensor('float32', [2, 3], numbers);
  const matched = (head: Weight, partial = false) =>
    matchWeights(
      want,
      new Map<string, Weight>([
        ['head.weight', head],
        ['embed.weight', table],
      ]),
      { aliases, partial },
    );
  type Weight = WeightSource extends ReadonlyMap<string, infer W> ? W : never;

  it('is compared when it is loaded, and is in the report', async () => {
    const { weights, report } = matched(tensor('float32', [2, 3], numbers));
    expect(report.repeated).toEqual([{ path: 'embed.weight', name: 'head.weight' }]);
    expect([...toArray(await weights.get('embed.weight')!.load()).data]).toEqual(numbers);
    expect(toArray(weights.get('embed.weight')!.loadSync!()).data[5]).toBe(6);
  });

  it.each<[string, Weight]>([
    ['in memory', tensor('float32', [2, 3], [1, 2, 3, 4, 5, 7])],
    ['lazy', lazyTensor(tensor('float32', [2, 3], [1, 2, 3, 4, 5, 7]))],
    ['made by a function', () => tensor('float32', [2, 3], [1, 2, 3, 4, 5, 7])],
  ])('is refused when the values differ, %s', async (_, head) => {
    const problem = /weight "head.weight": it is tied to "embed.weight" in the model, but has different values in the checkpoint/;
    await expect(matched(head).weights.get('embed.weight')!.load()).rejects.toThrow(problem);
    const { loadSync } = matched(head).weights.get('embed.weight')!;
    if (loadSync) expect(loadSync).toThrow(problem);
  });

  it('is refused when dims or dtype differ', () => {
    expect(messageOf(() => matched(tensor('float32', [3, 2], numbers)))).toMatch('weight "head.weight": does not fit');
    const narrow = tensor('float16', [2, 3], numbers);
    expect(messageOf(() => matched(narrow))).toMatch(/"head.weight": it is tied .* expected float32, got float16/);
    expect(matched(narrow, true).report).toMatchObject({ loaded: [], mismatched: ['embed.weight'] });
  });
});
