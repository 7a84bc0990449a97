import { initialize, interpret, namesOf, toArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { hyperConnections } from './hyper-connections';
import { layerNormed, mapRow, meanMixer, meanRow, plus, rowMap, rowsOf } from './plain.test-helper';

const [dim, n] = [5, 3];
const x = randomArray('x', [1, 7, n * dim]);
const parts = () => ({ dim, expansionRate: n, mixer: meanMixer({ dim }), feedforward: rowMap({ dim }) });

describe('hyper_connections', () => {
  it.each([true, false])('agrees with plain loops, dynamic: %o', (dynamic) => {
    const { outputs, parameters: p } = runBlock(hyperConnections({ ...parts(), dynamic }), { x });
    const normed = (name: string) => (row: readonly number[]) => layerNormed(row, p[`${name}.weight`]!, p[`${name}.bias`], 1e-5);
    // [positions][copies][channels]
    let copies = rowsOf({ ...x, dims: [7 * n, dim] });
    const sub = (place: string, norm: string, f: (rows: number[][]) => number[][]) => {
      const of = (name: string) => p[`hyper_connections.${place}.${name}`]!;
      const moved = (name: string, row: readonly number[], columns: number, fixed: (i: number) => number) => {
        if (!dynamic) return Array.from({ length: columns }, (_, i) => fixed(i));
        const h = normed(`hyper_connections.${place}.layer_norm`)(row);
        const w = of(`dynamic_${name}_fn`).data;
        const s = of(`dynamic_${name}_scale`).data[0]!;
        return Array.from({ length: columns }, (_, i) => {
          const sum = h.reduce((total, v, c) => total + v * w[c * columns + i]!, 0);
          return fixed(i) + s * Math.tanh(sum);
        });
      };
      const alpha = copies.map((row, at) => moved('alpha', row, n + 1, (i) => of('static_alpha').data[(at % n) * (n + 1) + i]!));
      const beta = copies.map((row, at) => moved('beta', row, 1, () => of('static_beta').data[at % n]!)[0]!);
      const mixed = (t: number, column: number) =>
        Array.from({ length: dim }, (_, c) =>
          Array.from({ length: n }, (_, i) => alpha[t * n + i]![column]! * copies[t * n + i]![c]!).reduce((a, b) => a + b, 0),
        );
      const y = f(Array.from({ length: 7 }, (_, t) => normed(norm)(mixed(t, 0))));
      copies = copies.map((_, at) => plus(mixed(Math.floor(at / n), 1 + (at % n)), y[Math.floor(at / n)]!, [1, beta[at]!]));
    };
    sub('mixer', 'norm1', (rows) => rows.map((row) => mapRow(plus(row, meanRow(rows)), p['mixer.map.weight']!)));
    sub('feedforward', 'norm2', (rows) => rows.map((row) => mapRow(row, p['feedforward.map.weight']!)));
    expectClose(outputs.y!, { ...x, data: Float64Array.from(copies.flat()) });
  });

  it('is pre_norm on each copy at first, and reads another copy in each sub-layer', () => {
    const block = hyperConnections(parts());
    const weights = initialize(block, { seed: 3 });
    const { nameOf } = namesOf(block);
    const of = (name: string) => toArray(weights.get(name)!.loadSync!());
    expect([...of('hyper_connections.mixer.static_alpha').data.filter((_, i) => i % (n + 1) === 0)]).toEqual([1, 0, 0]);
    expect([...of('hyper_connections.feedforward.static_alpha').data.filter((_, i) => i % (n + 1) === 0)]).toEqual([0, 1, 0]);
    const one = randomArray('x', [1, 7, dim]);
    const copied = { ...x, data: Float64Array.from(rowsOf(one).flatMap((row) => [...row, ...row, ...row])) };
    const { y } = interpret(
      traceBlock(block, { x: ['float32', copied.dims] }),
      { x: copied },
      { parameters: (q) => of(nameOf.get(q)!) },
    );
    const rows = rowsOf({ ...y!, dims: [7 * n, dim] });
    const normed = (row: readonly number[]) => layerNormed(row, of('norm1.weight'), of('norm1.bias'), 1e-5);
    const before = rowsOf(one).map(normed);
    const after = rowsOf(one).map((row, t) => plus(row, mapRow(plus(before[t]!, meanRow(before)), of('mixer.map.weight'))));
    const expected = after.map((row) => plus(row, mapRow(normed(row), of('feedforward.map.weight'))));
    const all = expected.flatMap((row) => [row, row, row]);
    expectClose({ ...x, data: Float64Array.from(rows.flat()) }, { ...x, data: Float64Array.from(all.flat()) });
  });

  it('refuses sub-layers that change the number of channels, and none', () => {
    expect(() => hyperConnections({ dim, feedforward: rowMap({ dim, outDim: 3 }) })).toThrow(
      'hyper_connections.feedforward: the result of a sub-layer is added to all copies; expected outDim 5, got outDim 3',
    );
    expect(() => hyperConnections({ dim })).toThrow('a layer without sub-layers');
  });
});
