import { module, type NDArray, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { layerNormed, mapRow, meanMixer, meanRow, plus, rowMap, rowsOf } from './plain.test-helper';
import { reversible, reversibleStep } from './reversible';

const dim = 5;
const x = randomArray('x', [1, 3, 2 * dim]);

type Parameters = Readonly<Record<string, NDArray>>;
type Rows = readonly (readonly number[])[];

function branches(p: Parameters, before: boolean) {
  const norm = (name: string) => (row: readonly number[]) => layerNormed([...row], p[`${name}.weight`]!, p[`${name}.bias`], 1e-5);
  const around = (name: string, f: (rows: Rows) => number[][]) => (rows: Rows) =>
    before ? f(rows.map(norm(name))) : f(rows).map(norm(name));
  return {
    f: around('norm1', (rows) =>
      rows.map((row) => mapRow(plus([...row], meanRow(rows.map((r) => [...r]))), p['mixer.map.weight']!)),
    ),
    g: around('norm2', (rows) => rows.map((row) => mapRow([...row], p['feedforward.map.weight']!))),
  };
}
const added = (a: Rows, b: Rows, sign = 1): number[][] => a.map((row, i) => row.map((v, c) => v + sign * b[i]![c]!));
const halves = (t: NDArray): readonly [number[][], number[][]] => [
  rowsOf(t).map((row) => row.slice(0, dim)),
  rowsOf(t).map((row) => row.slice(dim)),
];

describe('reversible', () => {
  const block = (normPlace: 'before' | 'after') =>
    reversible({ dim, mixer: meanMixer({ dim }), feedforward: rowMap({ dim }), normPlace });

  it.each(['before', 'after'] as const)(
    'with the norm %s agrees with plain loops, and its input follows from its output',
    (place) => {
      const { outputs, parameters } = runBlock(block(place), { x });
      const { f, g } = branches(parameters, place === 'before');
      const [x1, x2] = halves(x);
      const y1 = added(x1, f(x2));
      const y2 = added(x2, g(y1));
      expectClose(outputs.y!, { ...x, data: Float64Array.from(y1.flatMap((row, i) => [...row, ...y2[i]!])) });
      const [z1, z2] = halves(outputs.y!);
      const back2 = added(z2, g(z1), -1);
      const back1 = added(z1, f(back2), -1);
      expectClose({ ...x, data: Float64Array.from(back1.flatMap((row, i) => [...row, ...back2[i]!])) }, x);
    },
  );

  it('is a step with any two functions', () => {
    const step = module({}, (inputs: Readonly<Record<string, Value>>, _: SequenceContext) => ({
      y: reversibleStep(
        inputs.x!,
        (h) => ops.mul(h, 3),
        (h) => ops.mul(h, 7),
      ),
    }));
    const { outputs } = runBlock(step, { x: { dtype: 'float32', dims: [1, 1, 4], data: Float64Array.of(1, 2, 5, 11) } });
    expect(Array.from(outputs.y!.data)).toEqual([16, 35, 5 + 7 * 16, 11 + 7 * 35]);
  });
});
