import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShapeError } from '../error';
import { expression, holds, sizes } from '../testing/expressions';
import { addDims, type Dim, dim, evaluateDim, mulDims } from './dim';

const problemOf = (text: string): string => {
  try {
    return `no problem: ${dim(text)}`;
  } catch (e) {
    if (e instanceof ShapeError) return e.message;
    throw e;
  }
};

describe('canonical text', () => {
  it.each<[Dim, Dim]>([
    ['seq + past + seq', 'past + 2*seq'],
    ['seq*batch', 'batch*seq'],
    ['batch*(seq + 1)', 'batch + batch*seq'],
    ['1+seq', 'seq + 1'],
    ['-past + seq', 'seq - past'],
    ['1 - seq', '1 - seq'],
    ['-seq - past', '-past - seq'],
    ['seq*2*seq', '2*seq*seq'],
    ['- -3*-a', '-3*a'],
    ['2*seq - seq - seq', 0],
    ['(2 + 3)*4', 20],
    ['floorDiv(4*a + b, 4)', 'a + floorDiv(b, 4)'],
    ['floorDiv(5*a, 4)', 'a + floorDiv(a, 4)'],
    ['floorDiv(a + 9, 4)', 'floorDiv(a + 1, 4) + 2'],
    ['floorDiv(2*a + 1, 4)', 'floorDiv(a, 2)'],
    ['floorDiv(floorDiv(a, 2), 3)', 'floorDiv(a, 6)'],
    ['floorDiv(a + 3, 4)', 'ceilDiv(a, 4)'],
    ['ceilDiv(seq, 4)', 'ceilDiv(seq, 4)'],
    ['ceilDiv(ceilDiv(seq, 2), 2)', 'ceilDiv(seq, 4)'],
    ['ceilDiv(2*seq, 4)', 'ceilDiv(seq, 2)'],
    ['floorDiv(-a, 4)', 'floorDiv(3*a, 4) - a'],
    ['floorDiv(a, b)', 'floorDiv(a, b)'],
    ['floorDiv(a, a + b)', 'floorDiv(a, a + b)'],
    ['floorDiv(a, b + 1)', 'floorDiv(a, b + 1)'],
    ['ceilDiv(a, b)', 'ceilDiv(a, b)'],
    ['ceilDiv(a, a + b)', 'ceilDiv(a, a + b)'],
    ['ceilDiv(a*b, b)', 'a'],
    ['floorDiv((a + b)*c, a + b)', 'c'],
    ['ceilDiv((a + b)*c, a + b)', 'c'],
    ['floorDiv(a*b + c, b)', 'a + floorDiv(c, b)'],
    ['floorDiv(batch*seq, 4*batch)', 'floorDiv(seq, 4)'],
    ['floorDiv(7, 2)', 3],
    ['ceilDiv(7, 2)', 4],
    ['past_2.länge', 'past_2.länge'],
    ['  7 ', 7],
    [7, 7],
    [-0, 0],
  ])('%s is %s', (text, canonical) => {
    expect(dim(text)).toBe(canonical);
  });

  it('is a fixed point of dim', () => {
    holds([expression], ({ text }) => expect(dim(dim(text))).toBe(dim(text)), 1000);
  });

  it('means what the expression means', () => {
    const law = (text: string, value: bigint, s: Readonly<Record<string, number>>) =>
      expect(evaluateDim(dim(text), s)).toBe(Number(value));
    holds([expression, sizes], ({ text, value }, s) => law(text, value(s), s), 2000);
  });

  it('does not depend on the order of writing', () => {
    const texts = fc.array(
      expression.map(({ text }) => text),
      { minLength: 1, maxLength: 4 },
    );
    const twoOrders = texts.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
    holds([twoOrders], ([list, other]) => {
      expect(dim(other.join(' + '))).toBe(addDims(...list));
      expect(dim(other.join('*'))).toBe(mulDims(...list));
    });
  });
});

describe('texts that are not a size', () => {
  it.each([
    ['', 'the end of the text'],
    ['  ', 'the end of the text'],
    ['seq +', 'the end of the text'],
    ['(seq', 'the end of the text'],
    ['floorDiv', 'the end of the text'],
    ['seq)', ')'],
    ['floorDiv(seq)', ')'],
    ['floorDiv(seq, 2, 3)', ','],
    ['()', ')'],
    ['2seq', 'seq'],
    ['past seq', 'seq'],
    ['seq / 2', '/'],
    ['seq + *', '*'],
    ['1.5', '.'],
    ['seq²', '²'],
  ])('"%s"', (text, got) => {
    expect(problemOf(text)).toBe(
      `"${text}" is not a size; expected an expression such as past + 2*seq, (batch - 1)*seq, floorDiv(seq, 4) or ceilDiv(seq, 4), got ${got}`,
    );
  });

  it('are a ShapeError, whatever they are', () => {
    const piece = fc.constantFrom('a', 'seq', '3', '0', '+', '-', '*', '(', ')', ',', 'floorDiv(', 'ceilDiv(', ' ', '.', '💥');
    const pieces = fc.array(piece, { maxLength: 12 }).map((list) => list.join(''));
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), pieces), (text) => {
        try {
          const canonical = dim(text);
          expect(dim(canonical)).toBe(canonical);
          read++;
        } catch (e) {
          expect(e).toBeInstanceOf(ShapeError);
        }
      }),
      { numRuns: 3000, seed: 13 },
    );
    expect(read).toBeGreaterThan(50);
  });

  it('are not followed too deep or too far', () => {
    expect(problemOf('('.repeat(9_000))).toMatch(/got more than 100 nested parentheses$/);
    expect(dim(`${'('.repeat(99)}seq${')'.repeat(99)}`)).toBe('seq');
    expect(dim(Array(200).fill('(seq)').join(' + '))).toBe('200*seq');
    expect(dim(`${'-'.repeat(9_001)}seq`)).toBe('-seq');
    expect(problemOf(Array.from({ length: 30 }, (_, i) => `(a${i} + b${i})`).join('*'))).toBe(
      'a size is a sum of 1024 products; expected at most 1000. Name its parts differently',
    );
    expect(problemOf('99999999999999999999*seq')).toBe(
      'a size is not an integer that can be counted exactly; expected an integer below 2^53, got 100000000000000000000',
    );
  });
});
