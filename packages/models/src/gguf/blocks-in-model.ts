// The matrices of a GGUF file as blocks of codes in the model, where a kernel can read them as they are.
import { type LazyTensor, namesOf, type Parameter, quantizedBlocks, reparametrize, type Tensor } from '@onnxformers/core';
import type { Pretrained } from '../pretrained';
import type { GgufCheckpoint, RepackedTensor } from './read';

/** The model with codes and scales in place of the dequantised matrices. */
export function withBlocks(model: Pretrained, { repacked }: GgufCheckpoint): Pretrained {
  const { module, report, names } = model;
  const chosen = new Map<string, RepackedTensor>();
  for (const [path, p] of namesOf(module).parameters) {
    const stored = report.storedAs.get(path)!;
    const blocks = repacked.get(stored);
    // A tensor that holds several weights, or is stored in another form, is dequantised.
    const same = names.oursOf(names.theirsOf(path) ?? '').every((part) => part.name === path && !part.toOurs);
    if (blocks && same && isMatrix(path, p)) chosen.set(path, blocks);
  }
  if (!chosen.size) return model;
  const format = (path: string) => ({ bits: chosen.get(path)!.bits, blockSize: 32 }) as const;
  const small = reparametrize(module, (path, p) => (chosen.has(path) ? quantizedBlocks(p, format(path)) : undefined));
  const weights = new Map<string, LazyTensor>();
  for (const [path, weight] of model.weights) {
    const blocks = chosen.get(path);
    if (!blocks) weights.set(path, weight);
    else
      for (const [name, part] of partsOf(weight.dims as [number, number], blocks))
        weights.set(path.replace(/weight$/, name), part);
  }
  return { ...model, module: small, weights, formats: new Map([...chosen.keys()].map((path) => [path, format(path)])) };
}

const isMatrix = (path: string, { dims, options }: Parameter): boolean =>
  dims.length === 2 && options.part === 'weight' && path.endsWith('weight');

function partsOf([rows, columns]: readonly [number, number], { bits, load }: RepackedTensor): [string, LazyTensor][] {
  const count = columns / 32;
  const part = (
    name: 'weight_codes' | 'weight_scales',
    dtype: Tensor['dtype'],
    dims: readonly number[],
    byteLength: number,
  ): [string, LazyTensor] => [name, { dtype, dims, byteLength, load: async () => (await load())[name] }];
  return [
    part('weight_codes', 'uint8', [rows, count, 4 * bits], rows * count * 4 * bits),
    part('weight_scales', 'float16', [rows, count], 2 * rows * count),
  ];
}
