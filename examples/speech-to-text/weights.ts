// The weights of two ONNX files of Moonshine, dequantised, under their names in a Hugging Face checkpoint.
import { type DType, FileError, type OnnxGraph, readOnnx, type Tensor } from '@onnxformers/core';

/** Matrices of the files: codes q with a scale s and a zero point z mean (q − z) · s. */
interface Codes {
  readonly codes: Tensor;
  readonly scale: number;
  readonly zero: number;
}

/** Names of linear maps that the checkpoint has changed since. */
const renamed: readonly (readonly [from: RegExp, to: string])[] = [
  [/\.dense\b/, '.o_proj'],
  [/\.up_proj\b/, '.fc1'],
  [/\.down_proj\b/, '.fc2'],
];
const current = (name: string): string => renamed.reduce((all, [from, to]) => all.replace(from, to), name);

/** Initializers by name; `graph` has nodes that use them. */
export interface FileGraph {
  readonly graph: OnnxGraph;
  tensor(name: string): Tensor;
}

/** The graph of a file. The decoder's has two branches, with a cache and without; the second has all weights. */
export function graphOf(bytes: Uint8Array, path: string): FileGraph {
  const { graph: outer } = readOnnx(bytes, path);
  const tensors = new Map(outer.initializers.map(({ name, data }) => [name, data as Tensor]));
  const branch = outer.nodes.find(({ opType }) => opType === 'If')?.attributes.else_branch;
  const inner = branch?.type === 'graph' ? branch.value : outer;
  return {
    graph: { ...inner, inputs: outer.inputs, initializers: outer.initializers },
    tensor(name) {
      const found = tensors.get(name);
      if (found) return found;
      throw new FileError({ path, problem: `no initializer ${name}`, expected: 'a file of Moonshine' });
    },
  };
}

/** The codes that a node reads as its input `name`. */
function codesOf({ tensor }: FileGraph, name: string): Codes {
  const stem = name.replace(/_quantized$/, '');
  const number = (suffix: string): number => Number(tensor(stem + suffix).data[0]);
  return { codes: tensor(name), scale: number('_scale'), zero: number('_zero_point') };
}

const float32 = (dims: readonly number[], data: Float32Array): Tensor => ({ dtype: 'float32', dims, data });

/** (q − z) · s as [out, in], from codes [in, out]. */
function linearMap({ codes, scale, zero }: Codes): Tensor {
  const [rows, columns] = codes.dims as [number, number];
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let o = 0; o < columns; o++) data[o * rows + i] = (Number(codes.data[i * columns + o]) - zero) * scale;
  return float32([columns, rows], data);
}

/** The numbers of codes in their own layout. Signed codes, those of convolutions, mean q · s + z. */
function uncoded({ codes, scale, zero }: Codes, dtype: DType): Tensor {
  const value = dtype === 'int8' ? (q: number) => q * scale + zero : (q: number) => (q - zero) * scale;
  return float32(codes.dims, Float32Array.from(codes.data as Uint8Array, value));
}

/** All weights of a file, by their names in the checkpoint. `prefix` begins the names that the file leaves out. */
export function weightsOf(file: FileGraph, prefix: string): Map<string, Tensor> {
  const weights = new Map<string, Tensor>();
  const set = (name: string, weight: Tensor) => weights.set(prefix + current(name), weight);
  for (const { name, dtype } of file.graph.initializers) {
    const [, weight, codes] = /^((?!onnx::|\/)[\w.]+\.(?:weight|bias))(?:_merged_0)?(_quantized)?$/.exec(name) ?? [];
    if (weight === undefined) continue;
    set(weight, codes ? uncoded(codesOf(file, name), dtype) : file.tensor(name));
  }
  for (const { name, opType, inputs } of file.graph.nodes) {
    const path = name.split('/').slice(1, -1).join('.');
    if (opType === 'MatMulInteger') set(`${path}.weight`, linearMap(codesOf(file, inputs[1]!)));
    const normed = { '/groupnorm/Mul': 'groupnorm.weight', '/groupnorm/Add': 'groupnorm.bias' }[name];
    if (normed) set(normed, float32([file.tensor(inputs[1]!).data.length], file.tensor(inputs[1]!).data as Float32Array));
  }
  return weights;
}
