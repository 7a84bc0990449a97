// Rotary position embedding. Su et al. 2021, https://arxiv.org/abs/2104.09864
import { bool, ConfigError, choice, defineBlock, int, list, num, type SequenceContext, type Value } from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { kernels } from './kernels/rotary-embedding';
import { type Frequencies, frequencies } from './rotary-frequencies';
import { positionsOf, tablesFor } from './rotary-tables';
import { sequenceEnds } from './sequence-ends';

/**
 * Rotary position embedding (RoPE): rotates pairs of channels of queries and keys by angles proportional to the position, so that scores depend on distances.
 *
 *     (x₁, x₂) → (x₁ cos tθᵢ − x₂ sin tθᵢ, x₂ cos tθᵢ + x₁ sin tθᵢ)      θᵢ = theta^(−2i/rotaryDim), scaled
 *
 * The scalings dynamic and longrope depend on the length of each sequence up to the last position of the call; those before it in a cache count, but keys
 * in a cache keep the angles of their own call. So steps that cross originalMaxPositions differ from a call on the whole sequence.
 *
 * Shapes   q [batch, heads, seq, head_dim], k [batch, kv_heads, seq, head_dim] → the same
 * Dtypes   float32, float16, bfloat16; angles in float32
 * Cost     time O(seq · heads · headDim), memory O(seq · headDim) for sines and cosines
 * Throws   ConfigError for an odd rotaryDim or one beyond dim, for a scaling that requires originalMaxPositions or factors without them, for a factor
 *          without a scaling, and for dynamic and longrope on the keys of a memory · ShapeError if the number of positions in the context differs from that of q or k
 * Source   Su et al. 2021, https://arxiv.org/abs/2104.09864; YaRN: Peng et al. 2023, https://arxiv.org/abs/2309.00071; LongRoPE:
 *          Ding et al. 2024, https://arxiv.org/abs/2402.13753
 * Lowers   everywhere: RotaryEmbedding; portable below opset 23: primitives
 * Example  const block = rotary({ dim: 64 });
 */
export const rotary = defineBlock({
  kind: 'rotaryEmbedding',
  name: 'rotary',
  summary: 'Rotates pairs of channels of queries and keys by their positions.',
  source: 'Su et al. 2021, https://arxiv.org/abs/2104.09864',
  rules: kernels,
  fields: {
    /** channels of a head. Inherited from the enclosing block. */
    dim: int({ doc: 'channels of a head', unit: 'channels', min: 2, max: 65_536, inherit: true }),
    /** leading channels that are rotated. Default: computed from other options. */
    rotaryDim: int({
      doc: 'leading channels that are rotated',
      unit: 'channels',
      min: 2,
      max: 65_536,
      default: (c: { dim: number }) => c.dim,
    }),
    /** base of the rotary frequencies (rope_theta). Default: `10000`. */
    theta: num({ doc: 'base of the rotary frequencies (rope_theta)', min: 1, default: 10_000 }),
    /** channels 2i and 2i + 1 form a pair, instead of i and i + rotaryDim / 2. Default: `false`. */
    interleaved: bool({ doc: 'channels 2i and 2i + 1 form a pair, instead of i and i + rotaryDim / 2', default: false }),
    /** how frequencies are scaled for sequences longer than those of the training. Default: `"none"`. */
    scaling: choice(['none', 'linear', 'ntk', 'dynamic', 'yarn', 'llama3', 'longrope'], {
      doc: 'how frequencies are scaled for sequences longer than those of the training',
      default: 'none',
    }),
    /** how many times longer the sequences are. Default: `1`. */
    factor: num({ doc: 'how many times longer the sequences are', min: 1, default: 1 }),
    /** longest sequence of the training, for dynamic, yarn, llama3 and longrope (positions). Optional. */
    originalMaxPositions: int({
      doc: 'longest sequence of the training, for dynamic, yarn, llama3 and longrope',
      unit: 'positions',
      min: 1,
      optional: true,
    }),
    /** llama3: frequencies that make fewer turns than this over the original length are divided by the whole factor. Default: `1`. */
    lowFreqFactor: num({
      doc: 'llama3: frequencies that make fewer turns than this over the original length are divided by the whole factor',
      min: 0,
      default: 1,
    }),
    /** llama3: frequencies that make more turns than this stay unchanged. Default: `4`. */
    highFreqFactor: num({ doc: 'llama3: frequencies that make more turns than this stay unchanged', min: 0, default: 4 }),
    /** yarn: frequencies that make more turns than this stay unchanged. Default: `32`. */
    betaFast: num({ doc: 'yarn: frequencies that make more turns than this stay unchanged', min: 0, default: 32 }),
    /** yarn: frequencies that make fewer turns than this are divided by the whole factor. Default: `1`. */
    betaSlow: num({
      doc: 'yarn: frequencies that make fewer turns than this are divided by the whole factor',
      min: 0,
      default: 1,
    }),
    /** yarn: the first and the last pair of the ramp are whole numbers. Default: `true`. */
    truncate: bool({ doc: 'yarn: the first and the last pair of the ramp are whole numbers', default: true }),
    /** yarn, longrope: factor of cosines and sines; default 0.1 ln(factor) + 1, longrope √(1 + ln(factor) / ln(originalMaxPositions)). Optional. */
    attentionFactor: num({
      doc: 'yarn, longrope: factor of cosines and sines; default 0.1 ln(factor) + 1, longrope √(1 + ln(factor) / ln(originalMaxPositions))',
      min: 0,
      optional: true,
    }),
    /** longrope: what the frequency of each pair is divided by in sequences of at most originalMaxPositions. Optional. */
    shortFactor: list(num({ doc: 'a divisor', above: 0 }), {
      doc: 'longrope: what the frequency of each pair is divided by in sequences of at most originalMaxPositions',
      optional: true,
    }),
    /** longrope: what the frequency of each pair is divided by in longer sequences. Optional. */
    longFactor: list(num({ doc: 'a divisor', above: 0 }), {
      doc: 'longrope: what the frequency of each pair is divided by in longer sequences',
      optional: true,
    }),
  },
  examples: [
    { dim: 6 },
    { dim: 10, rotaryDim: 4, interleaved: true },
    { dim: 8, scaling: 'linear', factor: 3 },
    { dim: 8, scaling: 'ntk', factor: 3 },
    { dim: 16, scaling: 'yarn', factor: 4, originalMaxPositions: 13 },
    { dim: 16, scaling: 'yarn', factor: 4, originalMaxPositions: 97, truncate: false },
    { dim: 16, scaling: 'llama3', factor: 8, originalMaxPositions: 19 },
    { dim: 6, scaling: 'dynamic', factor: 3, originalMaxPositions: 5 },
    { dim: 6, scaling: 'longrope', factor: 4, originalMaxPositions: 5, shortFactor: [1, 1.5, 2], longFactor: [1, 3, 7] },
  ],
  properties: ['batchIndependent', 'causal'],
  create(c, { path }) {
    const { dim, rotaryDim, interleaved } = c;
    if (rotaryDim % 2 || rotaryDim > dim)
      throw new ConfigError({
        path: `${path}.rotaryDim`,
        problem: 'rotaryDim is odd or larger than dim',
        expected: `an even number up to dim = ${dim}`,
        got: String(rotaryDim),
      });
    if (c.scaling === 'none' && c.factor !== 1)
      throw new ConfigError({
        path: `${path}.factor`,
        problem: 'factor has no effect without a scaling',
        expected: 'a scaling',
        got: `factor ${c.factor} and scaling 'none'`,
      });
    const own = frequencies(c, path);
    const options = { ...(interleaved && { interleaved }), ...(rotaryDim !== dim && { rotaryDim }) };
    return (q: Value, k: Value, ctx: SequenceContext) => {
      const turn = (x: Value): Value => {
        const positions = positionsOf(x, ctx);
        const key = `rotary ${JSON.stringify(own)} of ${positions.id} ${own.longer ? (ctx.lengths?.id ?? '') : ''}`;
        const { cosines, sines } = tablesFor(x, ctx, { key, rows: positions.dims }, () => {
          const { cast, mul, unsqueeze } = x.graph.ops;
          const at = unsqueeze(cast(unexpanded(positions), 'float32'), [2]);
          return { angles: mul(at, ratesFor(own, ctx, path, x.graph.root)), scale: own.scale };
        });
        return ops.rotaryEmbedding(x, cosines, sines, undefined, options);
      };
      return [turn(q), turn(k)] as const;
    };
  },
});

/** Angles per position float32 [1 or batch, 1 or seq, pairs] (radians). */
function ratesFor({ inverseFrequencies, longer }: Frequencies, ctx: SequenceContext, path: string, g: Value['graph']): Value {
  const rates = g.number(inverseFrequencies, 'float32');
  if (!longer) return rates;
  const { cast, exp, greater, log, max, mul, sub, unsqueeze, where } = g.ops;
  const length = unsqueeze(sequenceEnds(ctx, path, g), [2]);
  if ('inverseFrequencies' in longer)
    return where(greater(length, longer.original), g.number(longer.inverseFrequencies, 'float32'), rates);
  const { factor, original, exponents } = longer;
  const grown = sub(mul(cast(length, 'float32'), factor / original), factor - 1);
  return mul(exp(mul(log(max(grown, 1)), g.number(exponents, 'float32'))), rates);
}
