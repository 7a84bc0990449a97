import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShapeError } from '../error';
import { divisor, expression, holds, record, sizes } from '../testing/expressions';
import {
  addDims,
  ceilDivDims,
  type Dim,
  type DimAtom,
  dim,
  divDims,
  evaluateDim,
  floorDivDims,
  mulDims,
  namesOfDim,
  solveDim,
  subDims,
  substituteDim,
  termsOf,
  tryDivDims,
} from './dim';

function shapeError(f: () => unknown): ShapeError {
  try {
    f();
  } catch (e) {
    if (e instanceof ShapeError) return e;
    throw e;
  }
  throw new Error('nothing was thrown');
}

describe('evaluation is a homomorphism', () => {
  it.each<[string, (a: Dim, b: Dim) => Dim, (a: number, b: number) => number]>([
    ['addDims', addDims, (a, b) => a + b],
    ['subDims', subDims, (a, b) => a - b],
    ['mulDims', mulDims, (a, b) => a * b],
  ])('of %s', (_, symbolic, numeric) => {
    holds([expression, expression, sizes], (a, b, s) => {
      const [x, y] = [evaluateDim(a.text, s), evaluateDim(b.text, s)];
      // Plus 0, since numbers have a -0 and sizes do not.
      expect(evaluateDim(symbolic(a.text, b.text), s)).toBe(numeric(x, y) + 0);
      expect(symbolic(x, y)).toBe(numeric(x, y) + 0);
    });
  });

  it.each<[string, (a: Dim, b: Dim) => Dim, (a: number) => number]>([
    ['floorDivDims', floorDivDims, Math.floor],
    ['ceilDivDims', ceilDivDims, Math.ceil],
  ])('of %s', (_, symbolic, round) => {
    const law = (a: string, n: string, s: Readonly<Record<string, number>>): void => {
      const [x, y] = [evaluateDim(a, s), evaluateDim(n, s)];
      const result = symbolic(a, n);
      expect(evaluateDim(result, s)).toBe(round(x / y) + 0);
      expect(symbolic(x, y)).toBe(round(x / y) + 0);
      expect(dim(result)).toBe(result);
    };
    holds([expression, divisor, sizes], (a, n, s) => law(a.text, n.text, s), 1000);
  });

  it('of exact quotients', () => {
    holds([expression, divisor, sizes], (a, n, s) =>
      expect(evaluateDim(divDims(mulDims(a.text, n.text), n.text), s)).toBe(evaluateDim(a.text, s)),
    );
  });

  it('of substitution', () => {
    holds([expression, record(fc.option(divisor, { nil: undefined })), sizes], (d, by, s) => {
      const replaced = substituteDim(d.text, (n) => by[n]?.text);
      const inner = Object.fromEntries(Object.entries(s).map(([n, size]) => [n, Number(by[n]?.value(s) ?? size)]));
      expect(evaluateDim(replaced, s)).toBe(evaluateDim(d.text, inner));
      expect(dim(replaced)).toBe(replaced);
    });
  });

  it('takes maps and records alike', () => {
    expect(evaluateDim('past + 2*seq', { past: 3, seq: 5, batch: 7 })).toBe(13);
    expect(evaluateDim('past + 2*seq', new Map(Object.entries({ past: 3, seq: 5 })))).toBe(13);
    expect(evaluateDim(11, {})).toBe(11);
  });
});

describe('numbers', () => {
  it('become numbers if no name remains, never -0', () => {
    expect(subDims('seq', 'seq')).toBe(0);
    expect(mulDims(-1, 0)).toBe(0);
    expect(mulDims('seq', 0)).toBe(0);
    expect(ceilDivDims(0, 3)).toBe(0);
    expect(ceilDivDims(-2, 3)).toBe(0);
    expect(divDims(0, -3)).toBe(0);
    expect(evaluateDim('-seq', { seq: 0 })).toBe(0);
    expect(solveDim('3 - seq', 3, new Map())).toEqual({ name: 'seq', size: 0 });
  });
});

describe('termsOf', () => {
  it('returns terms that add up to the size', () => {
    const sizeOf = (atom: DimAtom): Dim => (atom.kind === 'name' ? atom.name : floorDivDims(atom.numerator, atom.divisor));
    const rebuilt = (d: Dim): Dim => addDims(...termsOf(d).map((t) => mulDims(t.coefficient, ...t.atoms.map(sizeOf))));
    holds([expression], ({ text }) => expect(rebuilt(text)).toBe(dim(text)));
  });

  it('has the constant last, without atoms', () => {
    const seq: DimAtom = { kind: 'name', name: 'seq' };
    expect(termsOf('3 + batch*seq*2 - ceilDiv(seq, 4)')).toEqual([
      { coefficient: 2, atoms: [{ kind: 'name', name: 'batch' }, seq] },
      { coefficient: -1, atoms: [{ kind: 'floorDiv', numerator: 'seq + 3', divisor: 4 }] },
      { coefficient: 3, atoms: [] },
    ]);
    expect(termsOf('seq*seq')).toEqual([{ coefficient: 1, atoms: [seq, seq] }]);
    expect(termsOf(5)).toEqual([{ coefficient: 5, atoms: [] }]);
    expect(termsOf(0)).toEqual([]);
  });
});

describe('names', () => {
  it('are those that the value needs', () => {
    expect(namesOfDim('floorDiv(seq, 2*past + 1)*batch + seq')).toEqual(['batch', 'past', 'seq']);
    expect(namesOfDim('seq - seq')).toEqual([]);
    expect(namesOfDim(3)).toEqual([]);
    holds([expression, sizes], ({ text }, s) => {
      const needed = namesOfDim(text);
      const enough = new Map(needed.map((n) => [n, s[n]!]));
      expect(evaluateDim(dim(text), enough)).toBe(evaluateDim(text, s));
      // A missing factor of a product can hide behind no other, so each name alone must be missed.
      for (const missing of needed) {
        const fewer = new Map([...enough].filter(([n]) => n !== missing));
        expect(shapeError(() => evaluateDim(dim(text), fewer)).problem).toContain(missing);
      }
    });
  });

  it('are replaced all at once', () => {
    const swap: Readonly<Record<string, Dim>> = { past: 'seq', seq: 'past' };
    expect(substituteDim('past + 2*seq', (n) => swap[n])).toBe('2*past + seq');
    expect(substituteDim('ceilDiv(seq, 4)', () => 'batch + 4')).toBe('ceilDiv(batch, 4) + 1');
    expect(substituteDim('floorDiv(seq, past)', (n) => (n === 'past' ? 4 : undefined))).toBe('floorDiv(seq, 4)');
    expect(substituteDim('past + seq', () => undefined)).toBe('past + seq');
    expect(substituteDim(4, () => 5)).toBe(4);
  });
});

describe('solveDim', () => {
  it('inverts evaluation', () => {
    const other = fc.constantFrom('batch', 'past', 'X');
    const coefficient = fc.oneof(
      fc.integer({ min: -9, max: 9 }).filter((n) => n !== 0),
      other,
      fc.tuple(other, other).map(([a, b]) => `(${a} + 2*${b})`),
      other.map((n) => `ceilDiv(${n}, 3)`),
    );
    const rest = expression.filter(({ text }) => !text.includes('seq'));
    holds([coefficient, rest, sizes], (c, { text }, s) => {
      const d = dim(`${c}*seq + ${text}`);
      const known = new Map(Object.entries(s).filter(([n]) => n !== 'seq'));
      expect(solveDim(d, evaluateDim(d, s), known)).toEqual({ name: 'seq', size: s.seq });
    });
  });

  it.each<[Dim, number, Record<string, number>, { name: string; size: number } | undefined]>([
    ['batch + 1', 8, {}, { name: 'batch', size: 7 }],
    ['seq', 0, {}, { name: 'seq', size: 0 }],
    ['past + seq', 13, { past: 11 }, { name: 'seq', size: 2 }],
    ['batch*seq', 15, { batch: 3 }, { name: 'seq', size: 5 }],
    ['past + seq', 13, {}, undefined],
    ['past + seq', 13, { past: 11, seq: 2 }, undefined],
    ['seq*seq', 9, {}, undefined],
    ['seq + seq*seq', 12, {}, undefined],
    ['floorDiv(seq, 2)', 3, {}, undefined],
    ['seq + floorDiv(seq, 2)', 3, {}, undefined],
    ['batch*seq', 0, { batch: 0 }, undefined],
    [5, 5, {}, undefined],
  ])('%s = %s where %j', (d, size, known, solution) => {
    expect(solveDim(d, size, new Map(Object.entries(known)))).toEqual(solution);
  });

  it('refuses sizes that no value solves', () => {
    expect(shapeError(() => solveDim('2*seq + b', 4, new Map(Object.entries({ b: 1, c: 5 })))).message).toBe(
      'b + 2*seq cannot be 4 where b = 1; expected a size for which seq is an integer of at least 0, got seq = 1.5',
    );
    expect(shapeError(() => solveDim('batch + 1', 0, new Map())).message).toBe(
      'batch + 1 cannot be 0; expected a size for which batch is an integer of at least 0, got batch = -1',
    );
  });
});

describe('faults', () => {
  const notExact = 'Choose sizes that divide exactly, or round with floorDivDims or ceilDivDims';
  const notAnInteger = 'a size is not an integer that can be counted exactly; expected an integer below 2^53, got';

  it.each<[() => unknown, string]>([
    [() => divDims('1 + seq', 4), `seq + 1 is not a multiple of 4. ${notExact}`],
    [() => divDims(7, 2), `7 is not a multiple of 2. ${notExact}`],
    [() => divDims('seq', '2*past'), `seq is not a multiple of 2*past. ${notExact}`],
    [() => floorDivDims(7, 0), 'a size is divided by 0; expected a divisor of at least 1'],
    [() => ceilDivDims('seq', -4), 'a size is divided by -4; expected a divisor of at least 1'],
    [() => dim('floorDiv(seq, a - a)'), 'a size is divided by 0; expected a divisor of at least 1'],
    [
      () => evaluateDim('floorDiv(seq, past)', { seq: 3, past: 0 }),
      'a size is divided by past, which is 0; expected a divisor of at least 1',
    ],
    [
      () => evaluateDim('past + 2*seq', new Map(Object.entries({ past: 3, sec: 5 }))),
      'seq in the size past + 2*seq has no value; expected a value for every name, got values for past, sec. Did you mean sec?',
    ],
    [() => evaluateDim('toString', {}), 'the size toString has no value; expected a value for every name, got none'],
    [() => evaluateDim('seq', { seq: 1.5 }), `${notAnInteger} 1.5`],
    [() => addDims('seq', Number.NaN), `${notAnInteger} NaN`],
    [() => tryDivDims(Number.POSITIVE_INFINITY, 2), `${notAnInteger} Infinity`],
    [() => mulDims(2 ** 30, 2 ** 30), `${notAnInteger} ${2 ** 60}`],
  ])('%s', (f, message) => {
    expect(shapeError(f).message).toBe(message);
  });
});
