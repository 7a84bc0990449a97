// Runs whose results are known without the runtime, because kernels refuse sizes of 0.
import type { Port, Signature } from '../compile/compile';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { bindSizes } from '../interpret/bind';
import { toTensor } from '../tensor/convert';
import type { Tensor, TensorData } from '../tensor/tensor';
import type { CheckedFeeds } from './check-feed';
import { copyOrtTensor } from './ort';

/** The feeds of every input, in the order of the signature. */
interface Fed {
  readonly tensors: readonly Tensor[];
  readonly handed: CheckedFeeds['handed'];
}

/**
 * The results if each of them is empty, or a cache that a call without new positions leaves as it is. Undefined if one of them is computed, or has a size that
 * only a run determines. When compiling, `filledSizes` relies on this: kernels need no case for sizes of 0 that never reach them.
 */
export async function knownResults(
  { inputs, outputs }: Signature,
  { tensors, handed }: Fed,
  names: readonly string[],
): Promise<Record<string, Tensor> | undefined> {
  if (!tensors.some(({ dims }) => dims.includes(0))) return undefined;
  const sizes = bindSizes(inputs.map(({ name, dims }, at) => ({ name, dims, actual: tensors[at]!.dims })));
  const isKnown = (d: Dim): boolean => namesOfDim(d).every((name) => sizes.has(name));
  const kept: { readonly name: string; readonly at: number }[] = [];
  const results: Record<string, Tensor> = {};
  for (const name of names) {
    const port = outputs.find((p) => p.name === name);
    if (!port?.dims.every(isKnown)) return undefined;
    const dims = port.dims.map((d) => evaluateDim(d, sizes));
    const past = keptBy(port, sizes, inputs);
    if (dims.includes(0)) results[name] = toTensor({ dtype: port.dtype, dims, data: new Float64Array(0) });
    else if (past !== undefined) kept.push({ name, at: past });
    else return undefined;
  }
  for (const { name, at } of kept) results[name] = handed[at] ? await copyOrtTensor(handed[at]) : copied(tensors[at]!);
  return results;
}

// The input that an output is equal to, because nothing is appended to it.
function keptBy({ continues }: Port, sizes: ReadonlyMap<string, number>, inputs: readonly Port[]): number | undefined {
  if (!continues || namesOfDim(continues.rows).some((name) => !sizes.has(name))) return undefined;
  return evaluateDim(continues.rows, sizes) === 0 ? inputs.findIndex(({ name }) => name === continues.input) : undefined;
}

const copied = ({ dtype, dims, data }: Tensor): Tensor => ({ dtype, dims: [...dims], data: data.slice() as TensorData });
