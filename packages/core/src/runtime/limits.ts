// Limits of a signature, checked before the runtime sees the feeds.
import type { Port, Signature } from '../compile/compile';
import { evaluateDim, namesOfDim } from '../dim/dim';
import { FeedError } from '../error';
import type { Tensor } from '../tensor/tensor';

/**
 * Refuses feeds that are longer than something of fixed length in the model.
 *
 * Throws   FeedError naming the option that decides
 */
export function checkLimits(
  { limits = [], inputs: ports }: Signature,
  all: Readonly<Record<string, Tensor>>,
  sizes: Map<string, number>,
): void {
  for (const { size, inputs = [], max, field } of limits) {
    // What the lowered graph does not read cannot be read behind its end.
    if (!inputs.every(({ name }) => all[name]) || !namesOfDim(size).every((name) => sizes.has(name))) continue;
    const path = `feed "${inputs[0]?.name ?? portWith(ports, namesOfDim(size))?.name ?? ''}"`;
    let count = evaluateDim(size, sizes);
    for (const { name, rowSums } of inputs) {
      const { data, dims } = all[name]!;
      const [smallest, largest] = rowSums ? countsOf(data, dims.at(-1) ?? 1) : rangeOf(data);
      if (smallest < 0)
        throw new FeedError({
          path: `feed "${name}"`,
          problem: 'a negative index',
          expected: `from 0 to ${max - 1}`,
          got: String(smallest),
        });
      count += largest;
    }
    if (count <= max) continue;
    throw new FeedError({
      path,
      problem: 'longer than the model was built for',
      expected: `at most ${max}, by ${field}`,
      got: namesOfDim(size).length || inputs.some((i) => i.rowSums) ? String(count) : `an index of ${count - 1}`,
      hint: `Shorten it, or build the model with a larger ${field.split('.').at(-1)}`,
    });
  }
}

const portWith = (ports: readonly Port[], names: readonly string[]): Port | undefined =>
  ports.find((p) => !p.derived && p.dims.some((d) => namesOfDim(d).some((name) => names.includes(name))));

function rangeOf(data: Tensor['data']): readonly [number, number] {
  let [smallest, largest] = [0, 0];
  for (const x of data as Iterable<number | bigint>) {
    const n = Number(x);
    if (n > largest) largest = n;
    if (n < smallest) smallest = n;
  }
  return [smallest, largest];
}

/** Least and most entries of a row that are not 0. */
function countsOf(data: Tensor['data'], width: number): readonly [number, number] {
  let most = 0;
  for (let row = 0; row < data.length; row += width) {
    let count = 0;
    for (let i = row; i < row + width; i++) if (data[i]) count++;
    if (count > most) most = count;
  }
  return [0, most];
}
