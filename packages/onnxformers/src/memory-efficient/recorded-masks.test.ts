// Every class of attention bias against what the original materialises to (fixtures/attention-biases).
import { readFileSync } from 'node:fs';
import { tensor } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import * as ops from './index';

interface Recorded {
  readonly class: string;
  readonly from: string;
  readonly args: readonly number[] | Readonly<Record<string, unknown>>;
  readonly then?: readonly [method: string, ...args: unknown[]];
  readonly shape: readonly number[];
  readonly rows?: readonly string[];
  readonly values?: readonly (number | '-inf')[];
  readonly pages?: number;
}

const file = new URL('../../fixtures/attention-biases/masks.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { readonly cases: readonly Recorded[] };

/** Names of the recording in the form of this library: `make_causal_from_bottomright` → `makeCausalFromBottomRight`. */
const ours = (name: string): string =>
  name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase()).replace('Bottomright', 'BottomRight');

const classes = ops as unknown as Readonly<Record<string, unknown>>;
type AnyClass = (new (
  ...args: unknown[]
) => ops.AttentionBias) &
  Readonly<Record<string, (...args: unknown[]) => ops.AttentionBias>>;

function made({ from, args, then, shape }: Recorded): ops.AttentionBias {
  const type = classes[from] as AnyClass;
  const values = Object.values(args);
  const constructed = from.startsWith('BlockDiagonal') || from.startsWith('Paged');
  const local = 'window_left' in args || 'window_size' in args;
  const bias = !constructed ? new type(...values) : local ? type.fromSeqlensLocal!(...values) : type.fromSeqlens!(...values);
  if (!then) return bias;
  const [method, ...given] = then;
  if (method === 'add_bias') return bias.addBias(tensor('float32', shape, given[0] as number[]));
  // The original takes the class of the result as the last argument of make_paged.
  const kept = method === 'make_paged' ? given.slice(0, -1) : given;
  return (bias as unknown as Readonly<Record<string, (...args: unknown[]) => ops.AttentionBias>>)[ours(method)]!(...kept);
}

describe('attention biases are what the original materialises to', () => {
  it.each(cases.map((c) => [`${c.from}${JSON.stringify(c.args)} ${c.then?.[0] ?? ''} ${c.shape}`, c] as const))('%s', (_, c) => {
    const bias = made(c);
    expect(bias.constructor.name).toBe(c.from === 'LowerTriangularMask' ? c.from : c.class);
    if (c.values) {
      const got = Array.from(bias.materialize(c.shape).data, Number);
      return expect(got).toEqual(c.values.map((x) => (x === '-inf' ? Number.NEGATIVE_INFINITY : x)));
    }
    const [seq] = c.shape as [number];
    const kvSeq = c.rows![0]!.length;
    const data = Array.from(bias.materialize([seq, kvSeq]).data, Number);
    const rows = Array.from({ length: seq }, (_, i) =>
      data
        .slice(i * kvSeq, (i + 1) * kvSeq)
        .map((x) => (x === 0 ? '#' : '.'))
        .join(''),
    );
    expect(rows).toEqual(c.rows);
    return undefined;
  });

  it('every class is recorded', () => {
    const abstract = ['AttentionBias', 'PackedQueriesMask', 'PagedKeysMask'];
    const names = Object.keys(classes).filter((name) => /Mask/.test(name) && !abstract.includes(name));
    expect([...new Set(cases.map((c) => c.class))].sort()).toEqual(names.sort());
  });
});
