import { initialize, namesOf } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { expect, it } from 'vitest';
import { mapRow, meanMixer, meanRow, plus, rowMap, rowsOf } from './plain.test-helper';
import { rezero } from './rezero';

const dim = 5;
const x = randomArray('x', [1, 3, dim]);
const block = () => rezero({ dim, mixer: meanMixer({ dim }), feedforward: rowMap({ dim }) });

it('rezero agrees with plain loops', () => {
  const { outputs, parameters: p } = runBlock(block(), { x });
  const factor = (place: string) => p[`layer_scale.${place}.weight`]!.data[0]!;
  const rows = rowsOf(x);
  const mean = meanRow(rows);
  const mixed = rows.map((row) => plus(row, mapRow(plus(row, mean), p['mixer.map.weight']!), [1, factor('mixer')]));
  const y = mixed.map((row) => plus(row, mapRow(row, p['feedforward.map.weight']!), [1, factor('feedforward')]));
  expectClose(outputs.y!, { ...x, data: Float64Array.from(y.flat()) });
});

it('rezero starts as the identity, with one factor for each sub-layer', async () => {
  const weights = initialize(block(), { seed: 3 });
  const factors = [...namesOf(block()).parameters].filter(([name]) => name.startsWith('layer_scale'));
  expect(factors.map(([name, { dims }]) => [name, dims])).toEqual([
    ['layer_scale.mixer.weight', [1]],
    ['layer_scale.feedforward.weight', [1]],
  ]);
  for (const [name] of factors) expect((await weights.get(name)!.load()).data).toEqual(Float32Array.of(0));
});
