// The base of the attention biases of xFormers: a mask over its data as tensors, and numbers that are added to the scores.
import { ConfigError, describe, type Mask, materialize, ShapeError, type Tensor, tensor, toArray } from '@onnxformers/core';

/** Keys in pages: logical row t of sequence i is row `t mod size` of page `table[i, ⌊t / size⌋]`. */
export interface Pages<V> {
  /** int64 [sequences, pages of a sequence] */
  readonly table: V;
  /** Keys in a page. */
  readonly size: number;
}

/** The same attention over a batch of sequences that all have the same number of queries and the same space for keys. */
export interface Batched {
  readonly sequences: number;
  /** Queries of each sequence. */
  readonly queries: number;
  /** Over [sequences, queries] and [sequences, space]. */
  readonly mask: Mask<Tensor>;
}

/**
 * Which keys each query attends to, and what is added to its scores: the `attnBias` of `memoryEfficientAttention`. The names of the classes are those of
 * xFormers; each is a mask of ours over lengths and offsets as tensors.
 */
export abstract class AttentionBias {
  /** Added to the scores, [1 or batch, 1 or heads, queries, keys]; −∞ hides a key. Set by {@link addBias}. */
  readonly bias?: Tensor;
  /** The mask. With `pages`, it is over the keys after their pages have been gathered. */
  abstract readonly mask: Mask<Tensor>;
  /** Absent unless the keys are in pages. */
  readonly pages?: Pages<Tensor>;

  /** Offsets in the mask, and the lengths whose sums they are: kernels of packed sequences read lengths. */
  get lengthsOf(): ReadonlyMap<Tensor, Tensor> {
    return new Map();
  }

  /** Set if packed queries and padded keys are an ordinary batch with padding: no scores between different sequences are computed then. */
  get batched(): Batched | undefined {
    return undefined;
  }

  /**
   * The same mask with numbers that are added to the scores.
   *
   * Throws   ConfigError for a second bias, or a value that is not a tensor · ShapeError for a tensor without 2 to 5 axes
   */
  addBias(bias: Tensor): this {
    const path = `${this.constructor.name}.addBias`;
    if (this.bias) throw new ConfigError({ path, problem: 'there is a bias already', hint: 'Add the tensors before' });
    if (typeof bias !== 'object' || bias === null || !('dtype' in bias))
      throw new ConfigError({ path, problem: 'not a bias', expected: 'a float tensor', got: describe(bias) });
    if (bias.dims.length < 2 || bias.dims.length > 5)
      throw new ShapeError({
        path,
        problem: 'the bias has the wrong number of axes',
        expected: '[batch, heads, queries, keys]',
        got: `[${bias.dims.join(', ')}]`,
      });
    return Object.assign(Object.create(Object.getPrototypeOf(this)), this, { bias });
  }

  /**
   * The whole bias in numbers: 0 where a query attends to a key, −∞ where it does not, plus the bias. For tests and for looking at it.
   *
   * Shapes   dims [..., queries, keys] → float32 of these dims; keys in pages are in the order of the pages
   * Throws   ShapeError for sizes that do not fit the mask
   */
  materialize(dims: readonly number[]): Tensor {
    const [seq, kvSeq] = dims.slice(-2) as [number, number];
    const keep = this.visible(seq, kvSeq);
    const count = dims.reduce((a, b) => a * b, 1);
    const added = this.bias && toArray(this.bias);
    const values = Float32Array.from({ length: count }, (_, i) => {
      if (!keep[i % keep.length]) return Number.NEGATIVE_INFINITY;
      return added ? added.data[broadcast(added.dims, dims, i)]! : 0;
    });
    return tensor('float32', dims, values);
  }

  /** 1 for each pair of query and key that may attend, [queries, keys]. */
  protected visible(seq: number, kvSeq: number): ArrayLike<number> {
    return materialize(this.mask, { seq, kvSeq }).data as Uint8Array;
  }
}

// The index in a tensor that broadcasts to `full`, for an element of `full`.
function broadcast(dims: readonly number[], full: readonly number[], element: number): number {
  let [rest, index, stride] = [element, 0, 1];
  for (let axis = 1; axis <= full.length; axis++) {
    const size = dims.at(-axis) ?? 1;
    if (axis <= dims.length && size !== 1) index += (rest % full.at(-axis)!) * stride;
    if (axis <= dims.length) stride *= size;
    rest = Math.floor(rest / full.at(-axis)!);
  }
  return index;
}
