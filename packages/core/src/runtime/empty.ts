// Runs with empty results, because kernels refuse sizes of 0.
import type { Signature } from '../compile/compile';
import { evaluateDim, namesOfDim } from '../dim/dim';
import { bindSizes } from '../interpret/bind';
import { toTensor } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';

/**
 * The results if all of them are empty, as for inputs without tokens. Undefined if one of them has an element, or has a size that only a run
 * determines. `all` are the feeds of every input, in the order of the signature.
 */
export function emptyResults(
  { inputs, outputs }: Signature,
  all: readonly Tensor[],
  names: readonly string[],
): Record<string, Tensor> | undefined {
  if (!all.some(({ dims }) => dims.includes(0))) return undefined;
  const sizes = bindSizes(inputs.map(({ name, dims }, at) => ({ name, dims, actual: all[at]!.dims })));
  const results: Record<string, Tensor> = {};
  for (const name of names) {
    const port = outputs.find((p) => p.name === name);
    if (!port?.dims.every((d) => namesOfDim(d).every((n) => sizes.has(n)))) return undefined;
    const dims = port.dims.map((d) => evaluateDim(d, sizes));
    if (!dims.includes(0)) return undefined;
    results[name] = toTensor({ dtype: port.dtype, dims, data: new Float64Array(0) });
  }
  return results;
}
