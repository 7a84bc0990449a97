// RotaryEmbedding: positions as rotations of pairs of channels.
import { type Dim, divDims } from '../dim/dim';
import { defineOp, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Value, type Vocabulary } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { unexpanded } from './unexpanded';

/** Attributes of {@link RotaryEmbedding}, by the standard's names. */
type RotaryAttrs = {
  /** 1: channels 2i and 2i + 1 are a pair; otherwise i and i + rotary_embedding_dim / 2. */
  readonly interleaved?: number | undefined;
  /** With an operand of 3 axes only. */
  readonly num_heads?: number | undefined;
  /** Number of leading channels of a head that are rotated; default 0: all. */
  readonly rotary_embedding_dim?: number | undefined;
};

interface RotarySizes {
  readonly batch: Dim;
  readonly heads: Dim;
  readonly seq: Dim;
  readonly headDim: Dim;
  readonly turned: Dim;
}

function rotarySizes({ dims }: TensorType, { num_heads, rotary_embedding_dim }: RotaryAttrs): RotarySizes {
  const fourAxes = dims.length === 4;
  if (!fourAxes && dims.length !== 3)
    throw mismatch(
      'x has neither 3 nor 4 axes',
      '[batch, heads, seq, head_dim] or [batch, seq, heads · head_dim]',
      `[${dims.join(', ')}]`,
    );
  if (!fourAxes && !num_heads) throw mismatch('x of 3 axes needs num_heads', 'a number of at least 1', String(num_heads));
  const heads = fourAxes ? dims[1]! : num_heads!;
  const headDim = fourAxes ? dims[3]! : divDims(dims[2]!, heads);
  return { batch: dims[0]!, heads, seq: dims[fourAxes ? 2 : 1]!, headDim, turned: rotary_embedding_dim || headDim };
}

const names = ['x', 'cos', 'sin', 'positions?'] as const;
/** ONNX RotaryEmbedding. Operands: x, cosines, sines, and the positions, unless the cosines and sines are given for each position. */
export const RotaryEmbedding = defineOp<RotaryAttrs, typeof names>({
  key: 'RotaryEmbedding',
  operands: names,
  since: 23,
  attributes: { interleaved: 'int', num_heads: 'int', rotary_embedding_dim: 'int' },
  asks([x, , , positions], attrs) {
    const { headDim, turned } = rotarySizes(x!, attrs);
    return {
      head_dim: headDim,
      'rotated channels': turned,
      interleaved: attrs.interleaved === 1,
      partial: turned !== headDim,
      '4-D operands': x!.dims.length === 4,
      positions: !!positions,
    };
  },
  infer([x, cos, sin, positions], attrs) {
    const type = accept(x, 'float', 'x');
    const { batch, seq, headDim, turned } = rotarySizes(type, attrs);
    if (typeof turned === 'number' && typeof headDim === 'number' && turned > headDim)
      throw mismatch('rotary_embedding_dim is larger than a head', `at most ${headDim}`, String(turned));
    const half = divDims(turned, 2);
    for (const [name, cache] of [
      ['cos', cos],
      ['sin', sin],
    ] as const) {
      const { dtype, dims } = accept(cache, 'float', name);
      const expected = positions ? [dims[0]!, half] : [batch, seq, half];
      if (dtype !== type.dtype || dims.length !== expected.length || dims.some((d, i) => d !== expected[i]))
        throw mismatch(
          `${name} does not fit`,
          `${type.dtype}[${positions ? 'positions' : `${batch}, ${seq}`}, ${half}]`,
          printType(cache),
        );
    }
    if (cos!.dims[0] !== sin!.dims[0])
      throw mismatch('cos and sin have different lengths', String(cos!.dims[0]), String(sin!.dims[0]));
    if (
      positions &&
      (positions.dtype !== 'int64' || positions.dims.length !== 2 || positions.dims[0] !== batch || positions.dims[1] !== seq)
    )
      throw mismatch('the positions do not fit', `int64[${batch}, ${seq}]`, printType(positions));
    return [type];
  },
  decompose: ([x, cos, sin, positions], attrs, ops) => [turn(x!, cos!, sin!, positions, attrs, ops)],
  evaluate: ([x, cos, sin, positions], attrs) => [turned(x!, cos!, sin!, positions, attrs)],
});

function turn(x: Value, cos: Value, sin: Value, positions: Value | undefined, attrs: RotaryAttrs, ops: Vocabulary): Value {
  const { batch, heads, seq, headDim, turned } = rotarySizes(x, attrs);
  const half = divDims(turned, 2);
  const byHead = x.rank === 4 ? x : ops.reshape(x, [batch, seq, heads, headDim]);
  const angle = (cache: Value): Value => {
    const rows = positions ? ops.gather(cache, positions, 0) : alike(cache);
    return ops.reshape(rows, x.rank === 4 ? [rows.dims[0]!, 1, seq, half] : [rows.dims[0]!, seq, 1, half]);
  };
  const part = (of: Value, axis: number, from: Dim, to: Dim): Value =>
    ops.slice(of, { axes: [axis], starts: [from], ends: [to] });
  const turning = part(byHead, 3, 0, turned);
  // Pairs as an axis of size 2: before the halves, or after them.
  const paired = attrs.interleaved ? ops.reshape(turning, [...turning.dims.slice(0, 3), half, 2]) : turning;
  const [first, second] = attrs.interleaved
    ? [0, 1].map((i) => ops.reshape(part(paired, 4, i, i + 1), [...turning.dims.slice(0, 3), half]))
    : [part(paired, 3, 0, half), part(paired, 3, half, turned)];
  const [c, s] = [angle(cos), angle(sin)];
  const real = ops.sub(ops.mul(first, c), ops.mul(second, s));
  const imaginary = ops.add(ops.mul(second, c), ops.mul(first, s));
  const joined = attrs.interleaved
    ? ops.reshape(
        ops.concat(
          [real, imaginary].map((v) => ops.reshape(v, [...v.dims, 1])),
          4,
        ),
        turning.dims,
      )
    : ops.concat([real, imaginary], 3);
  const whole = turned === headDim ? joined : ops.concat([joined, part(byHead, 3, turned, headDim)], 3);
  return ops.reshape(whole, x.dims);
}

// Angles before they were repeated over the batch.
function alike(cache: Value): Value {
  const before = unexpanded(cache);
  return before.rank === 3 && before.dims[1] === cache.dims[1] ? before : cache;
}

function turned(x: NDArray, cos: NDArray, sin: NDArray, positions: NDArray | undefined, attrs: RotaryAttrs): NDArray {
  const sizes = rotarySizes(x, attrs) as { readonly [name in keyof RotarySizes]: number };
  const { batch, heads, seq, headDim } = sizes;
  const half = sizes.turned / 2;
  const data = x.data.slice();
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < seq; i++) {
        const row = (x.dims.length === 4 ? (b * heads + h) * seq + i : (b * seq + i) * heads + h) * headDim;
        const at = b * seq + i;
        const cache = (positions ? rowAt(positions.data[at]!, cos.dims[0]!) : at) * half;
        for (let p = 0; p < half; p++) {
          const [first, second] = attrs.interleaved ? [row + 2 * p, row + 2 * p + 1] : [row + p, row + half + p];
          const [c, s] = [cos.data[cache + p]!, sin.data[cache + p]!];
          data[first] = x.data[first]! * c - x.data[second]! * s;
          data[second] = x.data[first]! * s + x.data[second]! * c;
        }
      }
  return { dtype: x.dtype, dims: x.dims, data };
}

function rowAt(position: number, rows: number): number {
  if (position >= 0 && position < rows) return position;
  throw mismatch('a position is outside of the caches', `0 to ${rows - 1}`, String(position));
}

/** Options of {@link rotaryEmbedding}. */
export interface RotaryOptions {
  /** Channels 2i and 2i + 1 are a pair; otherwise i and i + rotaryDim / 2. */
  readonly interleaved?: boolean;
  /** Number of leading channels of each head that are rotated. Default: all. */
  readonly rotaryDim?: number;
  /** Number of heads in an x of 3 axes. */
  readonly heads?: number;
}

/**
 * Rotary position embedding (RoPE): rotates each pair of channels of a head by the angle of its position.
 *
 *     (a, b) → (a cos − b sin, a sin + b cos)
 *
 * Shapes   x [batch, heads, seq, head_dim], or [batch, seq, heads · head_dim] with `heads` → the same; cos, sin
 *          [max_positions, rotaryDim / 2] with positions int64 [batch, seq], or [batch, seq, rotaryDim / 2] without
 * Dtypes   one float dtype
 * Throws   ShapeError when operands do not fit, or an odd number of channels would be rotated
 * Source   Su et al. 2021, https://arxiv.org/abs/2104.09864
 * Lowers   portable: RotaryEmbedding · cpu, wasm, cuda: RotaryEmbedding · webgpu: RotaryEmbedding
 */
export function rotaryEmbedding(x: Value, cos: Value, sin: Value, positions?: Value, o: RotaryOptions = {}): Value {
  const attrs = { interleaved: o?.interleaved ? 1 : undefined, num_heads: o?.heads, rotary_embedding_dim: o?.rotaryDim };
  return apply(RotaryEmbedding, [x, cos, sin, positions], attrs)[0]!;
}
