// The whole encoder in plain loops and float64: what any other implementation of it is compared with.
import type { Tensor } from '@onnxformers/core';
import { sizes } from './sizes';

type Rows = Float64Array[];

/** What the encoder computes for one sentence, step by step. */
export interface Trace {
  /** Twice the embedding plus the positions, [length, 256]. */
  readonly embedded: Rows;
  /** After each layer, [length, 512]. */
  readonly layers: readonly [Rows, Rows];
  /** The sentence's unit vector, [512]. */
  readonly vector: Float64Array;
}

/** The encoder of `weights.ts`, one sentence at a time and without padding. */
export function plainEncoder(weights: ReadonlyMap<string, Tensor>): (ids: readonly number[]) => Trace {
  const at = (name: string): Float32Array => {
    const tensor = weights.get(name);
    if (!tensor) throw new Error(`no weight "${name}"`);
    return tensor.data as Float32Array;
  };

  function linear(x: Float64Array, name: string): Float64Array {
    const weight = at(`${name}.weight`);
    const bias = at(`${name}.bias`);
    const y = new Float64Array(bias.length);
    for (let o = 0; o < y.length; o++) {
      let sum = 0;
      for (let i = 0; i < x.length; i++) sum += weight[o * x.length + i]! * x[i]!;
      y[o] = sum + bias[o]!;
    }
    return y;
  }

  function norm(x: Float64Array, name: string): Float64Array {
    const weight = at(`${name}.weight`);
    const bias = at(`${name}.bias`);
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    const scale = 1 / Math.sqrt(variance + sizes.epsilon);
    return x.map((v, i) => weight[i]! * scale * (v - mean) + bias[i]!);
  }

  function attention(rows: Rows, name: string): Rows {
    const width = rows[0]?.length ?? 0;
    const headDim = width / sizes.heads;
    const qkv = rows.map((row) => linear(row, `${name}.qkv_proj`));
    const mixed = rows.map(() => new Float64Array(width));
    for (let first = 0; first < width; first += headDim) {
      for (const [i, query] of qkv.entries()) {
        const scores = qkv.map((key) => {
          let sum = 0;
          for (let c = first; c < first + headDim; c++) sum += query[c]! * key[width + c]!;
          return sum / Math.sqrt(headDim);
        });
        const greatest = Math.max(...scores);
        const powers = scores.map((s) => Math.exp(s - greatest));
        const total = powers.reduce((a, b) => a + b, 0);
        for (const [j, value] of qkv.entries())
          for (let c = first; c < first + headDim; c++) mixed[i]![c]! += (powers[j]! / total) * value[2 * width + c]!;
      }
    }
    return mixed.map((row) => linear(row, `${name}.o_proj`));
  }

  function layer(x: Rows, name: string): Rows {
    const shortcut = weights.has(`${name}.shortcut.mixer.weight`) ? x.map((row) => linear(row, `${name}.shortcut.mixer`)) : x;
    const attended = attention(
      x.map((row) => norm(row, `${name}.norm1`)),
      `${name}.mixer`,
    );
    const y = shortcut.map((row, i) => plus(row, attended[i]!));
    return y.map((row) => {
      const up = linear(norm(row, `${name}.norm2`), `${name}.feedforward.up`);
      return plus(
        row,
        linear(
          up.map((v) => Math.max(v, 0)),
          `${name}.feedforward.down`,
        ),
      );
    });
  }

  function embed(ids: readonly number[]): Rows {
    const width = sizes.widths[0];
    const frequencies = at('position.frequencies');
    return ids.map((id, position) => {
      const row = at('embedding.weight').subarray(id * width, (id + 1) * width);
      return Float64Array.from(row, (e, i) => {
        const angle = position * frequencies[i % frequencies.length]!;
        return 2 * e + (i < frequencies.length ? Math.sin(angle) : Math.cos(angle));
      });
    });
  }

  return (ids) => {
    const embedded = embed(ids.slice(0, sizes.maxTokens));
    const first = layer(embedded, 'layers.0');
    const second = layer(first, 'layers.1');
    const mean = new Float64Array(sizes.widths[2]);
    for (const row of second) for (let c = 0; c < mean.length; c++) mean[c]! += row[c]! / second.length;
    const t = linear(mean, 'dense').map(Math.tanh);
    const size = Math.sqrt(
      Math.max(
        t.reduce((a, b) => a + b * b, 0),
        1e-12,
      ),
    );
    return { embedded, layers: [first, second], vector: t.map((v) => v / size) };
  };
}

const plus = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v + b[i]!);
