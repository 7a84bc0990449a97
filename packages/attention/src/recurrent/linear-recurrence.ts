// Recurrences whose state is a matrix per head: linear attention, retention, gated linear attention, state space models, the delta rule.
import { type Dim, type NDArray, type TensorType, tryDivDims, type Value } from '@onnxformers/core';
import { apply, defineOp, mismatch, operandsOf, printType } from '@onnxformers/core/lowering';
import { inChunks } from './chunks';

/** How a key and a value change the state: they are added, or the value replaces what the key retrieves. */
export type Update = 'sum' | 'delta';

/** Attributes of {@link LinearRecurrence}. */
export type LinearRecurrenceAttrs = {
  readonly update: Update;
  readonly scale: number;
  /** There are few positions, as a branch around it has found. */
  readonly short?: true | undefined;
};

const names = ['q', 'k', 'v', 'past?', 'decay?', 'beta?'] as const;

/** The high-level op behind {@link linearRecurrence}. Operands: q, k, v, the state before, the logarithm of the decay, the strength of each update. */
export const LinearRecurrence = defineOp<LinearRecurrenceAttrs, typeof names>({
  key: 'onnxformers.LinearRecurrence',
  operands: names,
  results: ['y', 'state'],
  attributes: { update: 'data', scale: 'data', short: 'data' },
  infer(given, { update }) {
    const { q, k, v, past, decay, beta } = operandsOf(names, given);
    for (const x of [q, k, v])
      if (x.dims.length !== 4) throw mismatch('an operand does not have 4 axes', '[batch, seq, heads, width]', printType(x));
    const [batch, seq, heads] = v.dims as readonly [Dim, Dim, Dim];
    if (printType(k) !== printType(q) || q.dims[0] !== batch || q.dims[1] !== seq)
      throw mismatch('keys and values do not fit the queries', printType(q), `${printType(k)} and ${printType(v)}`);
    if (tryDivDims(heads, q.dims[2]!) === undefined)
      throw mismatch('the heads of the values are not a multiple of those of the keys', `a multiple of ${q.dims[2]}`, `${heads}`);
    const each: TensorType = { dtype: v.dtype, dims: [batch, seq, heads] };
    const state: TensorType = { dtype: v.dtype, dims: [batch, heads, q.dims[3]!, v.dims[3]!] };
    const ofChannels: TensorType = { dtype: v.dtype, dims: [batch, seq, heads, q.dims[3]!] };
    for (const [x, type] of [
      [decay, decay?.dims.length === 4 ? ofChannels : each],
      [beta, each],
      [past, state],
    ] as const)
      if (x && printType(x) !== printType(type))
        throw mismatch('an operand does not fit the values', printType(type), printType(x));
    if (!beta !== (update === 'sum'))
      throw mismatch(`the update is ${update}`, update === 'sum' ? 'no beta' : 'beta', beta ? printType(beta) : 'none');
    return [v, state];
  },
  decompose(given, { update, scale }, ops) {
    return inChunks(operandsOf(names, given), update, scale, ops);
  },
  evaluate(given, attrs) {
    return step(operandsOf(names, given), attrs);
  },
});

interface Arrays {
  readonly q: NDArray;
  readonly k: NDArray;
  readonly v: NDArray;
  readonly past?: NDArray | undefined;
  readonly decay?: NDArray | undefined;
  readonly beta?: NDArray | undefined;
}

// Position by position.
function step({ q, k, v, past, decay, beta }: Arrays, { update, scale }: LinearRecurrenceAttrs): readonly NDArray[] {
  const [batch, seq, heads, width] = v.dims as readonly [number, number, number, number];
  const [shared, n] = [q.dims[2]!, q.dims[3]!];
  const y = new Float64Array(v.data.length);
  const states = past ? past.data.slice() : new Float64Array(batch * heads * n * width);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      const state = states.subarray((b * heads + h) * n * width, (b * heads + h + 1) * n * width);
      for (let t = 0; t < seq; t++) {
        const row = (b * seq + t) * heads + h;
        const from = ((b * seq + t) * shared + Math.floor((h * shared) / heads)) * n;
        const [key, query] = [k.data.subarray(from, from + n), q.data.subarray(from, from + n)];
        if (decay) {
          const rate = (i: number): number => decay.data[decay.dims.length === 4 ? row * n + i : row]!;
          for (let i = 0; i < state.length; i++) state[i]! *= Math.exp(rate(Math.floor(i / width)));
        }
        for (let c = 0; c < width; c++) {
          const column = (x: Float64Array): number => x.reduce((sum, w, i) => sum + w * state[i * width + c]!, 0);
          const value = v.data[row * width + c]!;
          const added = update === 'delta' ? beta!.data[row]! * (value - column(key)) : value;
          for (let i = 0; i < n; i++) state[i * width + c]! += key[i]! * added;
          y[row * width + c] = scale * column(query);
        }
      }
    }
  return [
    { ...v, data: y },
    { dtype: v.dtype, dims: [batch, heads, n, width], data: states },
  ];
}

/** Operands and options of {@link linearRecurrence}. */
export interface LinearRecurrenceOptions {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** The state before the first position; zeros if absent. */
  readonly past?: Value | undefined;
  /** ln of the factor of the state at each position, of all its rows or of each; 0 if absent. */
  readonly decay?: Value | undefined;
  /** With it the update is the delta rule. */
  readonly beta?: Value | undefined;
  /** Default 1. */
  readonly scale?: number;
}

/**
 * A recurrence with a matrix as its state, and the state after the last position.
 *
 *     S_t = diag(exp(decay_t)) S_{t−1} + k_t u_tᵀ      y_t = scale · S_tᵀ q_t
 *     u_t = v_t, with beta (delta rule): u_t = beta_t (v_t − (diag(exp(decay_t)) S_{t−1})ᵀ k_t)
 *
 * Defined in chunks of 64 positions, of 16 with a decay for each channel of the keys: pairs of positions inside a chunk, one state between chunks. Time and
 * memory are linear in seq.
 *
 * Shapes   q, k [batch, seq, key_heads, n] · v [batch, seq, heads, m] · decay [batch, seq, heads] or [batch, seq, heads, n] · beta [batch, seq, heads] ·
 *          past [batch, heads, n, m] → y like v, state [batch, heads, n, m]; each head of keys serves heads / key_heads heads
 * Dtypes   floats, all the same
 * Throws   ShapeError when the operands do not fit
 * Source   Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236; Yang et al. 2023, https://arxiv.org/abs/2312.06635; Yang et al. 2024, https://arxiv.org/abs/2406.06484 and https://arxiv.org/abs/2412.06464
 * Lowers   cpu, wasm, webgpu, cuda: LinearAttention · elsewhere: primitives, with a Loop over chunks where the state decays or beta is given
 */
export function linearRecurrence(o: LinearRecurrenceOptions): readonly [y: Value, state: Value] {
  const { q, k, v, past, decay, beta, scale = 1 } = o;
  const attrs: LinearRecurrenceAttrs = { update: beta ? 'delta' : 'sum', scale };
  return apply<LinearRecurrenceAttrs>(LinearRecurrence, [q, k, v, past, decay, beta], attrs) as unknown as readonly [
    Value,
    Value,
  ];
}
