// A linear map and a row-wise function in plain loops.
import type { NDArray } from '@onnxformers/core';

/** `W row + b`. */
export function mapRow(row: readonly number[], weight: NDArray, bias: NDArray | undefined): number[] {
  const [to, from] = weight.dims as readonly [number, number];
  const out: number[] = [];
  for (let o = 0; o < to; o++) {
    let sum = bias ? bias.data[o]! : 0;
    for (let i = 0; i < from; i++) sum += weight.data[o * from + i]! * row[i]!;
    out.push(sum);
  }
  return out;
}

/** Applies a function to each row of the last axis. */
export function perRow(x: NDArray, f: (row: number[], index: number) => readonly number[]): NDArray {
  const width = x.dims.at(-1)!;
  const rows = Array.from({ length: x.data.length / width }, (_, i) =>
    f(Array.from(x.data.subarray(i * width, (i + 1) * width)), i),
  );
  return { dtype: x.dtype, dims: [...x.dims.slice(0, -1), rows[0]!.length], data: Float64Array.from(rows.flat()) };
}
