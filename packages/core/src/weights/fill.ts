// Computes the initial values of a parameter.
import { type ErrorDetails, internal, WeightError } from '../error';
import { type Distribution, distributionOf, type Fans, fansOf, type Init } from '../parameter/init';
import { castTensor, toTensor } from '../tensor/convert';
import { arrayOf, bitsOf, countOf, type DType, type Tensor, type TensorData } from '../tensor/tensor';
import { normalProbability, normalQuantile } from './normal-distribution';
import type { RandomStream } from './random';

/** Options of {@link fill}. */
export interface FillOptions {
  /** Dtype of the result; default float32. Values are computed in float64 and rounded once. */
  readonly dtype?: DType;
  /** The fans, if dims do not determine them (several matrices in one weight). */
  readonly fans?: Fans | undefined;
  /** Path of the parameter, for errors. */
  readonly path?: string;
}

/**
 * Checks an initialisation without computing values.
 *
 * @throws WeightError when it is `none`, does not match the dims, or has invalid parameters
 */
export function checkInit(init: Init, dims: readonly number[], o: FillOptions = {}): void {
  const path = o.path ?? 'init';
  const wrong = faultOf(init, dims, () => o.fans ?? fansOf(dims, path));
  if (wrong) throw new WeightError({ path, ...wrong });
  if (init.kind === 'rows') for (const part of init.parts) checkInit(part.init, [part.rows, ...dims.slice(1)], o);
}

function faultOf(init: Init, dims: readonly number[], fans: () => Fans): Omit<ErrorDetails, 'path'> | undefined {
  const wanted = `dims [${dims.join(', ')}]`;
  if (init.kind === 'none') {
    return { problem: 'this parameter has no initialisation', hint: 'Set its init, choose a scheme, or load its weights' };
  }
  if (init.kind === 'values') {
    if (`${init.tensor.dims}` === `${dims}`) return undefined;
    return { problem: 'the initial values have the wrong dims', expected: wanted, got: `[${init.tensor.dims.join(', ')}]` };
  }
  if (init.kind === 'rows') {
    if (init.parts.reduce((n, part) => n + part.rows, 0) === dims[0]) return undefined;
    const got = init.parts.map((part) => part.rows).join(' + ');
    return {
      problem: 'the first dims of its parts do not add up to that of the parameter',
      expected: `${dims[0]} rows for ${wanted}`,
      got,
    };
  }
  const d = distributionOf(init, fans);
  const wrong = Object.entries(d).find(([, x]) => typeof x === 'number' && !Number.isFinite(x));
  if (wrong) return { problem: `the ${wrong[0]} of its initialisation`, expected: 'a finite number', got: String(wrong[1]) };
  if ('std' in d && d.std < 0) return { problem: 'the std of its initialisation', expected: 'a number >= 0', got: String(d.std) };
  if ('low' in d && d.low > d.high) {
    return { problem: 'the bounds of its initialisation', expected: 'low <= high', got: `${d.low} and ${d.high}` };
  }
  return undefined;
}

/**
 * Computes the initial values of a parameter. Element i depends only on the stream and i, so another dtype has the same numbers, rounded.
 *
 * @throws WeightError as {@link checkInit}
 */
export function fill(init: Init, dims: readonly number[], stream: RandomStream, o: FillOptions = {}): Tensor {
  const { dtype = 'float32' } = o;
  checkInit(init, dims, o);
  if (init.kind === 'none') throw internal('checked above');
  if (init.kind === 'values') return castTensor(init.tensor, dtype);
  if (bitsOf(dtype) < 8) return castTensor(fill(init, dims, stream, { ...o, dtype: 'float64' }), dtype);
  const data = new (arrayOf(dtype) as Uint8ArrayConstructor)(countOf(dims));
  if (init.kind !== 'rows')
    sampleInto(
      data,
      dtype,
      distributionOf(init, () => o.fans ?? fansOf(dims)),
      stream,
    );
  else {
    let at = 0;
    for (const part of init.parts) {
      const block = fill(part.init, [part.rows, ...dims.slice(1)], stream, o).data as Uint8Array;
      data.set(block, at);
      at += block.length;
    }
  }
  return { dtype, dims, data };
}

function sampleInto(data: TensorData, dtype: DType, d: Distribution, stream: RandomStream): void {
  const numbers = new Float64Array(Math.min(1 << 16, data.length));
  for (let at = 0; at < data.length; at += numbers.length) {
    const some = numbers.subarray(0, data.length - at);
    sample(d, stream, some);
    (data as Uint8Array).set(toTensor({ dtype, dims: [some.length], data: some }).data as Uint8Array, at);
  }
}

function sample(d: Distribution, stream: RandomStream, out: Float64Array): void {
  if (d.kind === 'constant') {
    out.fill(d.value);
    return;
  }
  stream.uniform(out);
  if (d.kind === 'uniform') for (let i = 0; i < out.length; i++) out[i] = d.low + (d.high - d.low) * out[i]!;
  else if (d.kind === 'truncated_normal') truncate(out, d.std, d.low, d.high);
  else for (let i = 0; i < out.length; i++) out[i] = (d.mean ?? 0) + d.std * normalQuantile(out[i]!);
}

function truncate(out: Float64Array, std: number, low: number, high: number): void {
  // Upper tails are drawn as lower ones, because probabilities near 0 are more precise than those near 1.
  const sign = low > 0 ? -1 : 1;
  const [from, to] = sign > 0 ? [low, high] : [-high, -low];
  const start = std > 0 ? normalProbability(from / std) : 0;
  const span = std > 0 ? normalProbability(to / std) - start : 1;
  for (let i = 0; i < out.length; i++) {
    const p = Math.min(Math.max(start + span * out[i]!, 1e-300), 1 - 2 ** -53);
    out[i] = sign * Math.min(Math.max(std * normalQuantile(p), from), to);
  }
}
