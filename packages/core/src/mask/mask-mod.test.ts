import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { lookup, lookupFlag } from '../expression/term';
import type { Node } from '../ir/graph';
import { attendOp } from '../ops/attend';
import type { AttendAttrs } from '../ops/attend-parts';
import { GraphBuilder } from '../ops/vocabulary';
import type { NDArray } from '../tensor/tensor';
import { array } from '../testing/attention-calls';
import { knownForms, placeFunctions, type RandomCondition } from '../testing/mask-functions';
import {
  and,
  causal,
  causalFromTopLeft,
  dilated,
  keyLengths,
  keyStarts,
  type Mask,
  maskKinds,
  maskMod,
  materialize,
  none,
  not,
  or,
  prefix,
  printMask,
  slidingWindow,
} from './index';
import { sameMask } from './mask';
import { mayAttend } from './predicate';

const int64 = (...data: number[]): NDArray => array('int64', [data.length], data);
const lengths = int64(3, 2);

describe('a condition becomes the class of masks that it equals', () => {
  test.each<readonly [string, Mask<NDArray>, Mask<NDArray>]>([
    ['q >= k', maskMod((_b, _h, q, k) => q.ge(k)), causal],
    ['k <= q', maskMod((_b, _h, q, k) => k.le(q)), causal],
    ['k < q + 1', maskMod((_b, _h, q, k) => k.lt(q.add(1))), causal],
    ['q − k >= 0', maskMod((_b, _h, q, k) => q.sub(k).ge(0)), causal],
    ['not k > q', maskMod((_b, _h, q, k) => k.gt(q).not()), causal],
    ['k < q', maskMod((_b, _h, q, k) => k.lt(q)), slidingWindow({ right: -1 })],
    ['q − k <= 256', maskMod((_b, _h, q, k) => q.sub(k).le(256)), slidingWindow({ left: 256 })],
    ['2q − 2k < 5', maskMod((_b, _h, q, k) => q.mul(2).sub(k.mul(2)).lt(5)), slidingWindow({ left: 2 })],
    ['causal and a window', maskMod((_b, _h, q, k) => q.ge(k).and(q.sub(k).lt(4))), and(causal, slidingWindow({ left: 3 }))],
    [
      '|q − k| <= 2',
      maskMod((_b, _h, q, k) => q.sub(k).abs().le(2)),
      and(slidingWindow({ left: 2 }), slidingWindow({ right: 2 })),
    ],
    [
      '|q − k| > 2',
      maskMod((_b, _h, q, k) => q.sub(k).abs().gt(2)),
      or(slidingWindow({ left: -3 }), slidingWindow({ right: -3 })),
    ],
    ['q == k', maskMod((_b, _h, q, k) => q.eq(k)), and(slidingWindow({ left: 0 }), causal)],
    ['q != k', maskMod((_b, _h, q, k) => q.ne(k)), not(and(slidingWindow({ left: 0 }), causal))],
    ['k < lengths[b]', maskMod((b, _h, _q, k) => k.lt(lookup(lengths, b))), keyLengths(lengths)],
    ['starts[b] <= k', maskMod((b, _h, _q, k) => lookup(lengths, b).le(k)), keyStarts(lengths)],
    ['(q − k) mod 3 == 0', maskMod((_b, _h, q, k) => q.sub(k).mod(3).eq(0)), dilated(3)],
    ['q mod 3 == k mod 3', maskMod((_b, _h, q, k) => q.mod(3).eq(k.mod(3))), dilated(3)],
    ['k < 5 or k <= q', maskMod((_b, _h, q, k) => k.lt(5).or(k.le(q))), prefix(5)],
    ['q >= k or k < lengths[b]', maskMod((b, _h, q, k) => q.ge(k).or(k.lt(lookup(lengths, b)))), prefix(lengths)],
    ['k <= k + 1', maskMod((_b, _h, _q, k) => k.le(k.add(1))), none],
    ['k < k', maskMod((_b, _h, _q, k) => k.lt(k)), not(none as Mask<NDArray>)],
    ['counted from the top left', maskMod((_b, _h, q, k) => q.ge(k), { align: 'topLeft' }), causalFromTopLeft],
  ])('%s', (_, got, expected) => {
    expect(printMask(got)).toBe(printMask(expected));
    expect(sameMask(got, expected)).toBe(true);
  });
});

test('equal functions are equal masks, and their parts are recognised', () => {
  const make = () => maskMod((_b, h, q, k) => q.ge(k).and(q.floorDiv(4).eq(k.floorDiv(4)).or(h.lt(2))));
  expect(sameMask(make(), make())).toBe(true);
  expect(maskKinds(make())).toEqual(['causal', 'or', 'expression']);
  expect(printMask(make())).toBe('causal, expression(q // 4 == k // 4) or expression(h < 2)');
});

test('texts', () => {
  const said = (...[f]: Parameters<typeof maskMod>): string => printMask(maskMod(f)).replace(/^expression\((.*)\)$/, '$1');
  expect(said((_b, _h, q, k) => q.sub(k.sub(1)).mod(5).lt(2))).toBe('(q - (k - 1)) mod 5 < 2');
  expect(said((b, h, q, k) => q.mul(k).add(h).gt(b.neg().div(3)))).toBe('q * k + h > -b / 3');
  expect(said((_b, _h, q, k) => q.max(k).gt(lookup(lengths, q.abs())))).toBe('max(q, k) > table0[|q|]');
  expect(said((b, _h, _q, k) => lookupFlag(array('bool', [2, 3], [1, 0, 1, 1, 1, 0]), b, k))).toBe('table0[b, k]');
});

describe('in numbers', () => {
  const sizes = { sequences: 2, heads: 3, queries: 7, keys: 7 };
  const seq = 5;
  const kvSeq = 7;
  function same(condition: RandomCondition, align: 'topLeft' | undefined): Mask<NDArray> {
    const mask = maskMod((b, h, q, k) => condition.build({ b, h, q, k, score: b }), align ? { align } : {});
    const allowed = mayAttend(mask, { seq, kvSeq });
    for (let b = 0; b < sizes.sequences; b++)
      for (let h = 0; h < sizes.heads; h++)
        for (let i = 0; i < seq; i++)
          for (let j = 0; j < kvSeq; j++) {
            const q = align ? i : i + kvSeq - seq;
            if (allowed(b, h, i, j) !== condition.value({ b, h, q, k: j, score: 0 }))
              expect.fail(`${printMask(mask)} at ${[b, h, i, j]}: ${allowed(b, h, i, j)}`);
          }
    return mask;
  }
  const alignment = fc.constantFrom('topLeft' as const, undefined);
  it('a random function is its own mask', () => {
    fc.assert(
      fc.property(placeFunctions(sizes).condition, alignment, (c, align) => void same(c, align)),
      { numRuns: 400 },
    );
  });
  it('a recognised function is its own mask', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(knownForms, alignment, (c, align) => {
        for (const kind of maskKinds(same(c, align))) seen.add(kind);
      }),
      { numRuns: 600 },
    );
    for (const kind of ['causal', 'window', 'dilated', 'prefix', 'causalFromTopLeft', 'expression']) expect(seen).toContain(kind);
  });
});

describe('wrong functions', () => {
  const wrong = (f: (...x: Parameters<Parameters<typeof maskMod>[0]>) => unknown) => () => maskMod(f as never);
  test.each<readonly [string, () => unknown]>([
    ['the function returns something else; expected a condition, got nothing', wrong(() => undefined)],
    ['expected a condition, got true', wrong(() => true)],
    ['expected a condition, got a number', wrong((_b, _h, q) => q)],
    ['an operator of JavaScript was applied to an expression', wrong((_b, _h, q, k) => (q as never) >= (k as never))],
    ['an operator of JavaScript', wrong((_b, _h, q, k) => ((q as never) - (k as never)) / 2)],
    ['got false', wrong((_b, _h, q, k) => !q.ge(k))],
    ['got false', wrong((_b, _h, q, k) => (q as unknown) === k)],
    ['a condition is not a part of the result', wrong((_b, _h, q, k) => q.ge(k) && k.lt(5))],
    ['a condition is not a part of the result', wrong((_b, h, q, k) => (h.eq(0) ? q.ge(k) : q.le(k)))],
    ['add: an operand is a condition; got bool', wrong((_b, _h, q, k) => q.add(q.ge(k) as never).ge(k))],
    ['and: an operand is a number; got int', wrong((_b, _h, q, k) => q.ge(k).and(q as never))],
    ['add: an operand is not an expression and not a number', wrong((_b, _h, q, k) => q.add('1' as never).ge(k))],
    ['add: an operand is not an expression and not a number; got NaN', wrong((_b, _h, q, k) => q.add(Number.NaN).ge(k))],
    ['add: a number is not finite', wrong((_b, _h, q, k) => q.add(Number.NEGATIVE_INFINITY).ge(k))],
    ['mod: the divisor is not a positive integer; got 0', wrong((_b, _h, q, k) => q.mod(0).ge(k))],
    ['floorDiv: the divisor is not a positive integer; got 2.5', wrong((_b, _h, q, k) => q.floorDiv(2.5).ge(k))],
    ['mod: it is defined for integers only; got float', wrong((_b, _h, q, k) => q.div(2).mod(2).ge(k))],
    ['lookup: a table has another number of axes', wrong((b, _h, _q, k) => k.lt(lookup(lengths, b, k)))],
    ['lookup: an index is not an integer; got float. Use floor()', wrong((b, _h, _q, k) => k.lt(lookup(lengths, b.div(2))))],
    ['lookup: the table is missing; got nothing', wrong((b) => lookupFlag(undefined as never, b))],
    ['lookup: a table of numbers has no flags; expected lookup', wrong((b) => lookupFlag(lengths, b))],
    [
      'lookup: a table of bools has no numbers; expected lookupFlag',
      wrong((b, _h, _q, k) => k.lt(lookup(array('bool', [2], [1, 0]), b))),
    ],
    ['maskMod: an integer may not fit in 64 bits', wrong((_b, _h, q, k) => q.mul(q).mul(q).ge(k))],
    [
      'its operands are from different functions',
      wrong((_b, _h, q, k) => {
        let other = k;
        maskMod((_b2, _h2, q2, k2) => {
          other = q2;
          return q2.ge(k2);
        });
        return q.ge(other);
      }),
    ],
    ['the result does not depend on the arguments', wrong(() => lookupFlag(array('bool', [2], [1, 0]), 1))],
  ])('%s (%#)', (message, attempt) => {
    expect(attempt).toThrow(message);
  });
  it('tables must have the sizes of what they are looked up by', () => {
    const table = (dims: number[]) => ({ dtype: 'bool', dims, data: new Uint8Array(dims.reduce((a, b) => a * b)) }) as const;
    const of = (dims: number[], batch: number) =>
      materialize(
        maskMod((b, h, _q, k) => lookupFlag(table(dims), b, h, k)),
        { batch, heads: 3, seq: 5 },
      );
    expect(() => of([2, 3, 5], 4)).toThrow(
      'materialize: axis 0 of table0 does not fit the index b; expected 4, got bool[2, 3, 5]',
    );
    expect(() => of([4, 2, 5], 4)).toThrow('axis 1 of table0 does not fit the index h; expected 3');
    expect(() => of([4, 3, 4], 4)).toThrow('axis 2 of table0 does not fit the index k; expected at least 5');
    expect(of([4, 3, 6], 4).dims).toEqual([4, 3, 5, 5]);
  });
});

describe('tables of flags at known sizes', () => {
  const traced = (dims: readonly (string | number)[], seq: string, places: string, align?: 'topLeft'): string => {
    const g = new GraphBuilder();
    const [q, k] = [g.input('q', 'float32', ['batch', 3, seq, 5]), g.input('k', 'float32', ['batch', 3, 'kv', 5])];
    const table = g.input('table', 'bool', dims);
    const mask = maskMod(
      (b, h, q, k) => lookupFlag(table, ...[...places].map((place) => ({ b, h, q, k })[place]!)),
      align && { align },
    );
    const { attrs } = attendOp(q, k, k, { mask }).producer! as Node<AttendAttrs>;
    return printMask(attrs.mask);
  };
  test.each([
    [['batch', 'kv'], 'seq', 'bk', undefined, 'keyPadding'],
    [['batch', 'rows'], 'seq', 'bk', undefined, 'expression(table0[b, k])'],
    [['kv', 'kv'], 'kv', 'qk', undefined, 'dense'],
    [['seq', 'kv'], 'seq', 'qk', undefined, 'expression(table0[q, k])'],
    [['seq', 'kv'], 'seq', 'qk', 'topLeft', 'dense'],
    [[3, 'seq', 'kv'], 'seq', 'hqk', 'topLeft', 'dense'],
    [['batch', 3, 'kv', 'kv'], 'kv', 'bhqk', undefined, 'dense'],
    [['kv', 'kv'], 'kv', 'kq', undefined, 'expression(table0[k, q])'],
  ] as const)('%j of %s queries, by %s, counted %s', (dims, seq, places, align, expected) =>
    expect(traced(dims, seq, places, align)).toBe(expected),
  );
  test('counted from the top left is counted from the end where queries and keys start together', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['batch', 3, 'seq', 5]);
    const mask = maskMod((_b, _h, q, k) => q.ge(k).and(q.sub(k).lt(3)), { align: 'topLeft' });
    expect(printMask(mask)).toBe('causal from the top left, expression(q - k < 3)');
    const { attrs } = attendOp(x, x, x, { mask }).producer! as Node<AttendAttrs>;
    expect(printMask(attrs.mask)).toBe('causal, window(2 left, ∞ right)');
  });
});
