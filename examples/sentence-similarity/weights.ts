/**
 * The weights of the Universal Sentence Encoder (lite), read from the files of a TensorFlow.js graph and renamed to the
 * parameters of the model in `model.ts`.
 *
 * The network, as its graph (`model.json`) computes it. All arithmetic is float32; `length` is the number of tokens of one
 * sentence, of which only the first 128 are used.
 *
 *     e  = embedding[ids]                               [length, 256]   vocabulary of 8,002 rows, 8,000 of them with a piece
 *     a  = position · frequencies                       [length, 128]   position 0, 1, 2, …; frequencies from the weights
 *     x  = e + (e + concat(sin a, cos a))               [length, 256]   yes, the embedding is added twice
 *
 *     layer 0: width 256 → 512, 4 heads of 64
 *     s  = shortcut(x)                                  [length, 512]   linear on x itself, not on its norm
 *     y  = s + o_proj(attention(qkv_proj(norm1(x))))    [length, 512]   qkv_proj 256 → 768 = q | k | v, o_proj 256 → 512
 *     x  = y + down(relu(up(norm2(y))))                 [length, 512]   up 512 → 1536, down 1536 → 512
 *
 *     layer 1: width 512, 4 heads of 128
 *     y  = x + o_proj(attention(qkv_proj(norm1(x))))    [length, 512]   qkv_proj 512 → 1536, o_proj 512 → 512
 *     x  = y + down(relu(up(norm2(y))))                 [length, 512]   no norm after the last layer
 *
 *     m  = sum of the rows of x / max(length, 1)        [512]
 *     t  = tanh(dense(m))                               [512]
 *     v  = t / sqrt(max(sum of t², 1e-12))              [512]
 *
 * Every linear has a bias. Norms are layer norms with ε = 1e-6, inside the root, and with scale and shift. Attention has no
 * causal mask; q is multiplied by 1/√64 and 1/√128 before the product with k, in q, k and v head h owns columns
 * `h · headDim` to `(h + 1) · headDim`, and padded keys have −1e9 added to their scores, which in float32 makes their
 * weights exactly 0. Padded rows enter nowhere else: the sum leaves them out. A sentence without tokens is therefore
 * `tanh(dense bias)`, normalised.
 *
 * `frequencies[i]` is `10000^(−i/127)` to within 5.5e-7 of its size. The stored numbers matter: at position 127 that
 * difference turns an angle by 7e-5.
 *
 * Source: Cer et al. 2018, https://arxiv.org/abs/1803.11175; weights of the package in `files.ts` (Apache-2.0).
 */
import { FileError, type Tensor, WeightError } from '@onnxformers/core';
import { readSource, type SourceFile, sourceFolder } from './files';
import { sizes } from './sizes';

/** How the package stores a parameter that we hold as vector, as table or, if it is a linear's, as `[out, in]`. */
type Storage = 'same' | '[1, n]' | '[in, out]' | '[1, 1, in, out]';
/** One parameter: its name in the package, its name in our model, its dims in our model, how the package stores it. */
export interface NameEntry {
  readonly theirs: string;
  readonly ours: string;
  readonly dims: readonly number[];
  readonly storage: Storage;
}

const root = 'module/Encoder_en';
const applied = 'module_apply_default/Encoder_en/KonaTransformer/Encode';
const whole = 'ConcatPartitions/concat';

function layerNames(layer: number): NameEntry[] {
  const from = sizes.widths[layer]!;
  const to = sizes.widths[layer + 1]!;
  const { hidden } = sizes;
  const variables = `${applied}/Layer_${layer}/TransformerLayer`;
  const folded = `${applied}/TransformerStack/Layer_${layer}/TransformerLayer`;
  const kernels = `${root}/KonaTransformer/Encode/Layer_${layer}/TransformerLayer`;
  const norm = (theirs: string, ours: string, width: number): NameEntry[] => [
    {
      theirs: `${theirs}/layer_prepostprocess/layer_norm/layer_norm_scale/${whole}`,
      ours: `${ours}.weight`,
      dims: [width],
      storage: 'same',
    },
    {
      theirs: `${theirs}/layer_prepostprocess/layer_norm/layer_norm_bias/${whole}`,
      ours: `${ours}.bias`,
      dims: [width],
      storage: 'same',
    },
  ];
  const linear = (
    weight: string,
    storage: Storage,
    bias: string,
    ours: string,
    dims: readonly [out: number, from: number],
  ): NameEntry[] => [
    { theirs: weight, ours: `${ours}.weight`, dims, storage },
    { theirs: bias, ours: `${ours}.bias`, dims: [dims[0]], storage: 'same' },
  ];
  const projection = (theirs: string, ours: string, dims: readonly [number, number]) =>
    linear(
      `${kernels}/MultiheadAttention/${theirs}/kernel/part_0`,
      '[1, 1, in, out]',
      `${variables}/MultiheadAttention/${theirs}/bias/${whole}`,
      ours,
      dims,
    );
  const conv = (theirs: string, ours: string, dims: readonly [number, number]) =>
    linear(`${folded}/FFN/${theirs}/Tensordot/Reshape_1`, '[in, out]', `${variables}/FFN/${theirs}/bias/${whole}`, ours, dims);
  const at = `layers.${layer}`;
  return [
    ...norm(variables, `${at}.norm1`, from),
    ...projection('qkv_transform_single', `${at}.mixer.qkv_proj`, [3 * from, from]),
    ...projection('output_transform_single', `${at}.mixer.o_proj`, [to, from]),
    ...(from === to
      ? []
      : linear(`${variables}/dense/kernel/${whole}`, '[in, out]', `${variables}/dense/bias/${whole}`, `${at}.shortcut.mixer`, [
          to,
          from,
        ])),
    ...norm(`${variables}/FFN`, `${at}.norm2`, to),
    ...conv('conv1', `${at}.feedforward.up`, [hidden, to]),
    ...conv('conv2', `${at}.feedforward.down`, [to, hidden]),
  ];
}

/** Every parameter of the network, in the order in which it uses them. What the package holds beside these are constants of its graph. */
export const names: readonly NameEntry[] = [
  { theirs: 'module/Embeddings_en', ours: 'embedding.weight', dims: [sizes.vocabulary, sizes.widths[0]], storage: 'same' },
  {
    theirs: `${applied}/TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1`,
    ours: 'position.frequencies',
    dims: [sizes.widths[0] / 2],
    storage: '[1, n]',
  },
  ...layerNames(0),
  ...layerNames(1),
  {
    theirs: `${root}/hidden_layers/tanh_layer_0/weights`,
    ours: 'dense.weight',
    dims: [sizes.output, sizes.widths[2]],
    storage: '[in, out]',
  },
  { theirs: `${root}/hidden_layers/tanh_layer_0/bias`, ours: 'dense.bias', dims: [sizes.output], storage: 'same' },
];

interface Manifest {
  readonly weightsManifest: readonly {
    readonly paths: readonly SourceFile[];
    readonly weights: readonly {
      readonly name: string;
      readonly shape: readonly number[];
      readonly dtype: 'float32' | 'int32';
    }[];
  }[];
}

/**
 * Every tensor of the package under its own name, graph constants included. The tensors of a group lie one after another in
 * its shards, which read as one file; a tensor may begin in one shard and end in the next.
 *
 * @throws FileError when a file is missing or is not the expected one.
 */
export async function readTensors(folder: string = sourceFolder()): Promise<Map<string, Tensor>> {
  const { weightsManifest } = JSON.parse((await readSource('model.json', folder)).toString('utf8')) as Manifest;
  const tensors = new Map<string, Tensor>();
  for (const { paths, weights } of weightsManifest) {
    const shards = await Promise.all(paths.map((path) => readSource(path, folder)));
    const bytes = new Uint8Array(shards.reduce((sum, shard) => sum + shard.length, 0));
    let offset = 0;
    for (const shard of shards) {
      bytes.set(shard, offset);
      offset += shard.length;
    }
    offset = 0;
    for (const { name, shape, dtype } of weights) {
      const count = shape.reduce((n, d) => n * d, 1);
      const data = new (dtype === 'float32' ? Float32Array : Int32Array)(bytes.buffer, offset, count);
      tensors.set(name, { dtype, dims: shape, data });
      offset += data.byteLength;
    }
    if (offset !== bytes.length) {
      throw new FileError({
        path: folder,
        problem: 'shards and manifest disagree',
        expected: `${offset} bytes`,
        got: `${bytes.length}`,
      });
    }
  }
  return tensors;
}

const stored: Readonly<Record<Storage, (dims: readonly number[]) => readonly number[]>> = {
  same: (dims) => dims,
  '[1, n]': (dims) => [1, ...dims],
  '[in, out]': ([out, from]) => [from!, out!],
  '[1, 1, in, out]': ([out, from]) => [1, 1, from!, out!],
};

function toOurs({ theirs, dims, storage }: NameEntry, { data, dims: got }: Tensor): Tensor {
  const expected = stored[storage](dims);
  if (expected.join() !== got.join()) {
    throw new WeightError({ path: `weight "${theirs}"`, problem: 'has other dims', expected: `[${expected}]`, got: `[${got}]` });
  }
  const values = data as Float32Array;
  return {
    dtype: 'float32',
    dims,
    data: dims.length < 2 || storage === 'same' ? values : transposed(values, dims[1]!, dims[0]!),
  };
}

function transposed(from: Float32Array, rows: number, columns: number): Float32Array {
  const to = new Float32Array(from.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j]!;
  return to;
}

/**
 * The weights under the names and in the layout of our model: {@link names}.
 *
 * @throws FileError when a file is missing or is not the expected one.
 * @throws WeightError when a tensor is missing or has other dims.
 */
export async function readWeights(folder?: string): Promise<Map<string, Tensor>> {
  const tensors = await readTensors(folder);
  return new Map(
    names.map((entry) => {
      const tensor = tensors.get(entry.theirs);
      if (!tensor) throw new WeightError({ path: `weight "${entry.theirs}"`, problem: 'is not in the package' });
      return [entry.ours, toOurs(entry, tensor)];
    }),
  );
}
