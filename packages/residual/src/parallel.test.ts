import { namesOf } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { parallel } from './parallel';
import { layerNormed, mapRow, meanMixer, meanRow, plus, rowMap, rowsOf } from './plain.test-helper';

const dim = 5;
const x = randomArray('x', [1, 3, dim]);
const memory = randomArray('memory', [1, 7, dim]);
const parts = () => ({ dim, mixer: meanMixer({ dim }), cross: meanMixer({ dim, cross: true }), feedforward: rowMap({ dim }) });

describe('parallel', () => {
  it.each([
    { sharedNorm: true, scale: 1, branchScale: 1 },
    { sharedNorm: false, scale: 1, branchScale: 1 },
    { sharedNorm: false, scale: 0.5, branchScale: 0.25 },
  ])('agrees with plain loops: %o', (o) => {
    const { outputs, parameters: p } = runBlock(parallel({ ...parts(), ...o }), { x, memory });
    const rows = rowsOf(x);
    const normed = (own: string) => {
      const name = o.sharedNorm ? 'norm' : own;
      return rows.map((row) => layerNormed(row, p[`${name}.weight`]!, p[`${name}.bias`], 1e-5));
    };
    const mean = meanRow(normed('norm1'));
    const around = meanRow(rowsOf(memory));
    const branches = [
      normed('norm1').map((row) => mapRow(plus(row, mean), p['mixer.map.weight']!)),
      normed('norm_cross').map((row) => mapRow(plus(row, around), p['cross.map.weight']!)),
      normed('norm2').map((row) => mapRow(row, p['feedforward.map.weight']!)),
    ];
    const y = rows.map((row, i) =>
      branches.reduce((sum, b) => plus(sum, b[i]!, [1, o.branchScale]), plus(row, row, [o.scale, 0])),
    );
    expectClose(outputs.y!, { ...x, data: Float64Array.from(y.flat()) });
  });

  it('has one norm, or one for each sub-layer', () => {
    const norms = (sharedNorm: boolean) =>
      [...namesOf(parallel({ ...parts(), sharedNorm })).parameters.keys()].filter((n) => /norm.*weight/.test(n));
    expect(norms(true)).toEqual(['norm.weight']);
    expect(norms(false)).toEqual(['norm1.weight', 'norm_cross.weight', 'norm2.weight']);
  });

  it('refuses sub-layers that change the number of channels, and none', () => {
    expect(() => parallel({ dim, mixer: meanMixer({ dim }), feedforward: rowMap({ dim, outDim: 3 }) })).toThrow(
      'parallel.feedforward: the results of parallel sub-layers are added; expected outDim 5, got outDim 3',
    );
    expect(() => parallel({ dim })).toThrow('a layer without sub-layers');
  });
});
