// Rotary position embedding. Su et al. 2021, https://arxiv.org/abs/2104.09864
import {
  bool,
  ConfigError,
  choice,
  defineBlock,
  int,
  num,
  type SequenceContext,
  ShapeError,
  type Value,
} from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { kernels } from './kernels/rotary-embedding';
import { frequencies } from './rotary-frequencies';

/**
 * Rotary position embedding (RoPE): rotates pairs of channels of queries and keys by angles proportional to the position, so that scores depend on distances.
 *
 *     (x₁, x₂) → (x₁ cos tθᵢ − x₂ sin tθᵢ, x₂ cos tθᵢ + x₁ sin tθᵢ)      θᵢ = theta^(−2i/rotaryDim), scaled
 *
 * Shapes   q [batch, heads, seq, head_dim], k [batch, kv_heads, seq, head_dim] → the same
 * Dtypes   float32, float16, bfloat16; angles in float32
 * Throws   ConfigError for an odd rotaryDim or one beyond dim, for a scaling that requires originalMaxPositions without it, and for a factor
 *          without a scaling · ShapeError if the number of positions in the context differs from that of q or k
 * Source   Su et al. 2021, https://arxiv.org/abs/2104.09864; YaRN: Peng et al. 2023, https://arxiv.org/abs/2309.00071
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
    scaling: choice(['none', 'linear', 'ntk', 'yarn', 'llama3'], {
      doc: 'how frequencies are scaled for sequences longer than those of the training',
      default: 'none',
    }),
    /** how many times longer the sequences are. Default: `1`. */
    factor: num({ doc: 'how many times longer the sequences are', min: 1, default: 1 }),
    /** longest sequence of the training, for yarn and llama3 (positions). Optional. */
    originalMaxPositions: int({
      doc: 'longest sequence of the training, for yarn and llama3',
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
    /** yarn: factor of cosines and sines; default 0.1 ln(factor) + 1. Optional. */
    attentionFactor: num({ doc: 'yarn: factor of cosines and sines; default 0.1 ln(factor) + 1', min: 0, optional: true }),
  },
  examples: [
    { dim: 6 },
    { dim: 10, rotaryDim: 4, interleaved: true },
    { dim: 8, scaling: 'linear', factor: 3 },
    { dim: 8, scaling: 'ntk', factor: 3 },
    { dim: 16, scaling: 'yarn', factor: 4, originalMaxPositions: 13 },
    { dim: 16, scaling: 'llama3', factor: 8, originalMaxPositions: 19 },
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
        expected: "scaling 'linear', 'ntk', 'yarn' or 'llama3'",
        got: `factor ${c.factor} and scaling 'none'`,
      });
    const { inverseFrequencies, scale } = frequencies(c, path);
    const key = `rotary ${inverseFrequencies.join()} ${scale}`;
    const options = { ...(interleaved && { interleaved }), ...(rotaryDim !== dim && { rotaryDim }) };
    return (q: Value, k: Value, ctx: SequenceContext) => {
      const turn = (x: Value): Value => {
        const { cosines, sines } = tables(x, ctx, key, inverseFrequencies, scale);
        return ops.rotaryEmbedding(x, cosines, sines, undefined, options);
      };
      return [turn(q), turn(k)] as const;
    };
  },
});

interface Tables {
  readonly cosines: Value;
  readonly sines: Value;
}

// Computed once for all layers, for queries and keys if they have the same positions, and for all sequences with the same positions.
function tables(x: Value, ctx: SequenceContext, key: string, inverseFrequencies: readonly number[], scale: number): Tables {
  const g = x.graph.root;
  const positions = positionsOf(x, ctx);
  return ctx.shared.get(`${key} of ${positions.id} ${x.dtype}`, () => {
    const angles = ops.mul(
      ops.unsqueeze(ops.cast(unexpanded(positions), 'float32'), [2]),
      g.number(inverseFrequencies, 'float32'),
    );
    const table = (v: Value): Value =>
      ops.expand(ops.cast(ops.mul(v, scale), x.dtype), [...positions.dims, inverseFrequencies.length]);
    return { cosines: table(ops.cos(angles)), sines: table(ops.sin(angles)) };
  });
}

function positionsOf(x: Value, { positions }: SequenceContext): Value {
  if (positions.dims.at(-1) !== x.dims[2])
    throw new ShapeError({
      path: x.graph.where,
      problem: 'the number of positions in the sequence context differs from that of q or k',
      expected: `[batch, heads, ${positions.dims.at(-1)}, head_dim]`,
      got: `[${x.dims.join(', ')}]`,
      hint: 'A block that adds prefix tokens or changes the number of positions returns them with their context: withPrefix, withPositions',
    });
  return positions.rank === 1 ? ops.unsqueeze(positions, [0]) : positions;
}
