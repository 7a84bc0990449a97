import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { FeedError, ShapeError } from '../error';
import type { Limit, Value } from '../ir/graph';
import { embedding } from '../layers/embedding';
import { module } from '../module/module';
import { add } from '../ops/elementwise';
import { completeFeeds } from '../runtime/models.test-helper';
import { describeModel, readDescription } from '../saved/saved-model';
import { splitHeads } from '../sequence/layout';
import { portable } from '../targets/portable';
import { tensor } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { attend, type SequenceContext, updateCache } from './context';
import { limitIndices } from './limits';

const rows = 7;
const table = embedding(rows, 4);
// A row of a table of seven for each position, and an attention that keeps its keys where there is a state.
const positional = module({ table }, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
  limitIndices(ctx.positions, rows, 'table.seqLen');
  const y = add(x!, table(ctx.positions));
  const heads = splitHeads(y, 1, ctx.layout);
  const [k, v, own] = updateCache(ctx, heads, heads);
  return { y: attend(heads, k, v, own) };
});
const compiled = (inputs: CompileOptions['inputs'] = {}, o: Partial<CompileOptions> = {}) =>
  compile(positional, { target: portable(21), inputs: { x: ['float32', ['batch', 'seq', 4]], ...inputs }, ...o });
const float = (...dims: number[]): Tensor => tensor('float32', dims, new Array(dims.reduce((a, b) => a * b, 1)).fill(0));
const int64 = (dims: number[], values: readonly number[]): Tensor => tensor('int64', dims, values);

/** What is said of feeds: nothing where they are taken. */
function said({ signature }: ReturnType<typeof compiled>, feeds: Readonly<Record<string, Tensor>>): string {
  try {
    completeFeeds(signature, feeds, 0);
    return '';
  } catch (error) {
    expect(error).toBeInstanceOf(FeedError);
    return (error as Error).message;
  }
}
const tooLong = (got: string, expected = 'at most 7') =>
  `longer than the model was built for; expected ${expected}, by table.seqLen, got ${got}`;

describe('a table of seven positions', () => {
  it('accepts seven positions and refuses eight', () => {
    const model = compiled();
    expect(said(model, { x: float(2, 7, 4) })).toBe('');
    expect(said(model, { x: float(2, 8, 4) })).toMatch(/^feed "x": /);
    expect(said(model, { x: float(2, 8, 4) })).toContain(tooLong('8 (seq)'));
  });

  it('refuses eight positions when it is compiled for them', () => {
    const eight = { x: ['float32', ['batch', 8, 4]] } as const;
    expect(() => compiled(eight)).toThrow(ShapeError);
    expect(() => compiled(eight)).toThrow(/at most 7, by table\.seqLen, got 8/);
  });

  it('counts the positions of a growing cache', () => {
    const model = compiled({}, { state: 'io' });
    const past = (n: number) => ({ 'past_key_values.0.key': float(1, 1, n, 4), 'past_key_values.0.value': float(1, 1, n, 4) });
    expect(said(model, { x: float(1, 3, 4), ...past(4) })).toBe('');
    expect(said(model, { x: float(1, 3, 4), ...past(5) })).toContain(tooLong('5 at [0]', '0 to 4 (7 - seq)'));
  });

  it('counts what is used of a cache of fixed capacity', () => {
    const model = compiled({}, { state: { io: 19 } });
    const feeds = (n: number) => ({
      x: float(2, 3, 4),
      'past_key_values.0.key': float(2, 1, 19, 4),
      'past_key_values.0.value': float(2, 1, 19, 4),
      past_lengths: int64([2], [1, n]),
    });
    expect(said(model, feeds(4))).toBe('');
    expect(said(model, feeds(5))).toContain(tooLong('5 at [1]', '0 to 4 (7 - seq)'));
  });

  it('follows position_ids, which may not be negative either', () => {
    const model = compiled({ position_ids: ['int64', ['batch', 'seq']] });
    const feeds = (...at: number[]) => ({ x: float(1, 3, 4), position_ids: int64([1, 3], at) });
    expect(said(model, feeds(6, 0, 3))).toBe('');
    expect(said(model, feeds(6, 7, 3))).toMatch(
      /^feed "position_ids": an index out of range of the table; expected 0 to 6, by table\.seqLen, got 7 at \[0, 1\]/,
    );
    expect(said(model, feeds(6, -1, 3))).toMatch(
      /^feed "position_ids": an index out of range of the table; .* got -1 at \[0, 1\]/,
    );
    // More rows than positions are none of its concern.
    expect(said(model, { x: float(1, 8, 4), position_ids: int64([1, 8], [0, 1, 2, 3, 0, 1, 2, 3]) })).toBe('');
  });

  it('counts the real keys of an attention_mask, with padding on either side', () => {
    const model = compiled({ attention_mask: ['int64', ['batch', 'seq']] });
    const feeds = (real: number) => ({
      x: float(2, 9, 4),
      attention_mask: int64([2, 9], [...Array.from({ length: 9 }, (_, i) => (i >= 9 - real ? 1 : 0)), 1, 1, 0, 0, 0, 0, 0, 0, 0]),
    });
    expect(said(model, feeds(7))).toBe('');
    expect(said(model, feeds(8))).toContain(tooLong('8 in row 0', '0 to 7'));
  });

  it('counts the longest sequence of a packed batch', () => {
    const inputs = { x: ['float32', ['tokens', 4]], lengths: ['int64', ['batch']] } as const;
    const model = compiled(inputs, { layout: 'packed' });
    expect(said(model, { x: float(10, 4), lengths: int64([2], [7, 3]) })).toBe('');
    expect(said(model, { x: float(10, 4), lengths: int64([2], [2, 8]) })).toContain(tooLong('8 at [1]', '0 to 7'));
  });

  it('is remembered by a saved model', () => {
    const model = compiled();
    const { signature } = readDescription(describeModel(model), 'onnxformers.json');
    expect(signature.limits).toEqual(model.signature.limits);
    expect(signature.limits).toContainEqual(expect.objectContaining({ size: 'seq', max: 7, by: 'table.seqLen' }));
    expect(said({ ...model, signature }, { x: float(2, 8, 4) })).toContain(tooLong('8 (seq)'));
    const damaged = describeModel(model).replace('"max": 7', '"max": true');
    expect(() => readDescription(damaged, 'onnxformers.json')).toThrow(/the limits are damaged/);
  });
});

describe('limits that exclude each other', () => {
  const inputs = { x: ['int64', ['batch', 'seq']] } as const;
  const limitedTo =
    (...limits: readonly Limit[]) =>
    () => {
      const limited = module({}, ({ x }: Readonly<Record<string, Value>>) => {
        for (const limit of limits) x!.graph.root.limit(limit);
        return { y: x! };
      });
      return compile(limited, { target: portable(21), inputs });
    };
  const atLeast = (min: number, size = 'seq', by = 'patch.kernelSize'): Limit => ({ size, min, by, problem: 'too short' });
  const atMost = (max: number, size = 'seq', by = 'position.seqLen'): Limit => ({ size, max, by, problem: 'too long' });
  const between = (min: number, max: number): Limit => ({
    input: 'x',
    min,
    max,
    problem: 'an id out of range',
    hint: 'Fewer steps',
  });

  it('are refused with the size and both options, in either order', () => {
    const expected =
      /no value of seq is allowed.* at least 5 \(by patch\.kernelSize\), got at most 3 \(by position\.seqLen\)\. Change/;
    for (const limits of [
      [atLeast(5), atMost(3)],
      [atMost(3), atLeast(5)],
    ] as const) {
      expect(limitedTo(...limits)).toThrow(ShapeError);
      expect(limitedTo(...limits)).toThrow(expected);
    }
  });
  it('are compared after what is added to the size, which is at least 0', () => {
    expect(limitedTo(atLeast(5, 'seq + 2'), atMost(5, 'seq + 2'))).not.toThrow();
    expect(limitedTo(atLeast(5), atMost(6, 'seq + 2'))).toThrow(/no value of seq .* at least 5 .* at most 4 /);
    expect(limitedTo(atMost(6, 'seq + 7'))).toThrow(/no value of seq .* at least 0, got at most -1 \(by position\.seqLen\)/);
    expect(limitedTo(atMost(7, 'seq + 7'))).not.toThrow();
    expect(limitedTo(atLeast(5), atMost(3, 'batch'))).not.toThrow();
  });
  it('are refused for the elements of an input too', () => {
    expect(limitedTo(between(1, 1))).not.toThrow();
    expect(limitedTo(between(1, 0))).toThrow(
      'no value of the elements of "x" is allowed, so no feeds would be accepted; expected at least 1 (otherwise an id out of range), got at most 0 (otherwise an id out of range). Fewer steps',
    );
  });
  it('refuse a known size', () => {
    expect(limitedTo({ ...atLeast(5), size: 4 })).toThrow(/too short; expected at least 5, by patch\.kernelSize, got 4/);
    expect(limitedTo({ ...atMost(3), size: 4 })).toThrow(/too long; expected at most 3, by position\.seqLen, got 4/);
    expect(limitedTo({ ...atMost(3), size: 0, min: 0 })).not.toThrow();
  });
});
