// Whatever stands in a config: a module, or an error that says what is wrong.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Json, lm } from './bad-input.test-helper';
import { parseConfig } from './cli/config-file';
import {
  type AnyModule,
  blockInputs,
  type CompileOptions,
  ConfigError,
  compile,
  type Dim,
  isModule,
  OnnxformersError,
  targets,
  zoo,
} from './index';

/** The config with one of its values replaced, taken away or given another name. */
function changed(x: unknown, at: number, by: unknown, how: string): unknown {
  const copy = structuredClone(x);
  const places: [Json, string][] = [];
  const visit = (v: unknown) => {
    if (typeof v !== 'object' || v === null) return;
    for (const key of Object.keys(v)) {
      places.push([v as Json, key]);
      visit((v as Json)[key]);
    }
  };
  visit(copy);
  const [owner, key] = places[at % places.length]!;
  if (how === 'rename') owner[`${key}x`] = owner[key];
  if (how === 'replace') owner[key] = by;
  else delete owner[key];
  return copy;
}

/** Inputs for any module, where its config does not tell them; with channels that are off, no config tells so many. */
function inputsFor(m: AnyModule, off = 0): CompileOptions['inputs'] {
  const open: Readonly<Record<string, number>> = { heads: 2, head_dim: 6, value_dim: 6 };
  const sizeOf = (d: Dim, axis: number, { length }: readonly Dim[]): Dim => {
    const size = open[String(d)] ?? d;
    return typeof size === 'number' && axis === length - 1 ? size + off : size;
  };
  return Object.fromEntries(Object.entries(blockInputs(m)).map(([name, { dtype, dims }]) => [name, [dtype, dims.map(sizeOf)]]));
}

describe('the reader of configs, whatever it is given,', () => {
  const kinds = [...new Set(zoo.blocks.map((b) => b.kind))];
  /** Builds a module or says what is wrong. Sizes stay small: a model of a billion layers is not a mistake that an error could name. */
  function reads(f: () => unknown): void {
    let made: unknown;
    try {
      made = f();
    } catch (error) {
      expect(error, String((error as Error).stack)).toBeInstanceOf(ConfigError);
      expect((error as Error).message).not.toMatch(/undefined|\[object|NaN is|function \(/);
      return;
    }
    expect(isModule(made)).toBe(true);
  }
  const names = zoo.blocks.map((b) => b.blockName);
  // A function of one's own stands in no file.
  const isPlain = (x: object) => !Object.values(x).some((v) => typeof v === 'function');
  const scalar = fc.oneof(
    fc.integer({ min: -2, max: 13 }),
    fc.double({ noInteger: true }),
    fc.constantFrom<unknown>(null, true, false, '', 'cat', Number.NaN, Number.NEGATIVE_INFINITY, 1e300, -0, undefined),
    fc.constantFrom(...names),
  );
  const anything = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      scalar,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('name', 'dim', 'heads', '__proto__', 'constructor')), tie('value'), {
        maxKeys: 4,
      }),
    ),
  })).value;

  it('accepts any JSON', () => {
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.oneof(anything, fc.jsonValue()), (kind, config) =>
        reads(() => zoo.parse(kind, config)),
      ),
      { numRuns: 1000 },
    );
  });

  it('accepts any options of any block', () => {
    const config = fc.constantFrom(...zoo.blocks).chain((block) => {
      const fields = fc.record(Object.fromEntries(Object.keys(block.fields).map((name) => [name, fc.oneof(scalar, anything)])), {
        requiredKeys: [],
      });
      return fields.map((options) => ({ kind: block.kind, config: { name: block.blockName, ...options } }));
    });
    fc.assert(
      fc.property(config, ({ kind, config: c }) => reads(() => zoo.parse(kind, c))),
      { numRuns: 2000 },
    );
  });

  it('accepts any change of a valid config', () => {
    const examples = zoo.blocks.flatMap((b) =>
      b.definition.examples
        .filter(isPlain)
        .map((example: object) => ({ kind: b.kind, config: { name: b.blockName, ...example } })),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...examples),
        fc.nat(),
        anything,
        fc.constantFrom('replace', 'remove', 'rename'),
        ({ kind, config }, at, by, how) => {
          reads(() => zoo.parse(kind, changed(config, at, by, how)));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('makes modules that compile, or throws a clear error', () => {
    const examples = zoo.blocks.flatMap((b) =>
      b.definition.examples
        .filter(isPlain)
        .map((example: object) => ({ kind: b.kind, config: { name: b.blockName, ...example } })),
    );
    const counts = { compiled: 0, refused: 0 };
    fc.assert(
      fc.property(
        fc.constantFrom(...examples),
        fc.nat(),
        scalar,
        fc.constantFrom('replace', 'remove'),
        fc.constantFrom(0, 0, 1),
        (example, at, by, how, off) => {
          let made: AnyModule;
          try {
            made = zoo.parse(example.kind, changed(example.config, at, by, how)) as unknown as AnyModule;
          } catch {
            return; // what `reads` looks at
          }
          try {
            compile(made, { target: targets.portable(), inputs: inputsFor(made, off) });
            counts.compiled++;
          } catch (error) {
            expect(error, String((error as Error).stack)).toBeInstanceOf(OnnxformersError);
            expect((error as Error).message).not.toMatch(/undefined|\[object|function \(/);
            counts.refused++;
          }
        },
      ),
      { numRuns: 600 },
    );
    expect(Math.min(counts.compiled, counts.refused), JSON.stringify(counts)).toBeGreaterThan(0);
  });

  it('accepts any file', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anything,
          fc.record(
            {
              config: fc.oneof(anything, fc.constant(lm())),
              kind: anything,
              inputs: anything,
              state: anything,
              layout: anything,
            },
            { requiredKeys: [] },
          ),
        ),
        (file) => reads(() => parseConfig(file).module),
      ),
      { numRuns: 1000 },
    );
  });
});
