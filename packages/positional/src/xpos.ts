// Rotary position embedding with decay. Sun et al. 2022, https://arxiv.org/abs/2212.10554
import { bool, ConfigError, defineBlock, int, num, type SequenceContext, type Value } from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { kernels } from './kernels/rotary-embedding';
import { positionsOf, tablesFor } from './rotary-tables';

/**
 * Extrapolatable position embedding (xPos): a rotation whose scores also decay with the distance of the key before the query, faster for pairs that turn faster.
 *
 *     q → ζᵢ^(t / scaleBase) · rotated q      k → ζᵢ^(−t / scaleBase) · rotated k
 *     ζᵢ = (2i / dim + gamma) / (1 + gamma)      θᵢ = theta^(−2i/dim)
 *
 * Positions t count from the start of the sequence, so that cached keys stay right. The paper counts from its middle, which changes no score. A factor is beyond
 * float16 after about 8 · scaleBase positions, and beyond float32 after about 70 · scaleBase.
 *
 * Shapes   q [batch, heads, seq, head_dim], k [batch, kv_heads, seq, head_dim] → the same
 * Dtypes   float32, float16, bfloat16; angles and factors in float32
 * Cost     time O(seq · heads · headDim), memory O(seq · headDim) for sines and cosines
 * Throws   ConfigError for an odd dim · ShapeError if the number of positions in the context differs from that of q or k
 * Source   Sun et al. 2022, https://arxiv.org/abs/2212.10554
 * Lowers   everywhere: RotaryEmbedding; portable below opset 23: primitives
 * Example  const block = xpos({ dim: 64 });
 */
export const xpos = defineBlock({
  kind: 'rotaryEmbedding',
  name: 'xpos',
  summary: 'Rotates pairs of channels, with scores that decay with the distance.',
  source: 'Sun et al. 2022, https://arxiv.org/abs/2212.10554',
  rules: kernels,
  fields: {
    /** channels of a head. Inherited from the enclosing block. */
    dim: int({ doc: 'channels of a head', unit: 'channels', min: 2, max: 65_536, inherit: true }),
    /** base of the rotary frequencies. Default: `10000`. */
    theta: num({ doc: 'base of the rotary frequencies', min: 1, default: 10_000 }),
    /** distance over which pair i decays by ζᵢ (positions). Default: `512`. */
    scaleBase: num({ doc: 'distance over which pair i decays by ζᵢ', unit: 'positions', min: 1, default: 512 }),
    /** γ of ζᵢ: the larger, the slower the decay. Default: `0.4`. */
    gamma: num({ doc: 'γ of ζᵢ: the larger, the slower the decay', above: 0, default: 0.4 }),
    /** channels 2i and 2i + 1 form a pair, instead of i and i + dim / 2. Default: `false`. */
    interleaved: bool({ doc: 'channels 2i and 2i + 1 form a pair, instead of i and i + dim / 2', default: false }),
  },
  examples: [{ dim: 6 }, { dim: 10, theta: 500, scaleBase: 7, gamma: 0.9, interleaved: true }],
  properties: ['batchIndependent', 'causal'],
  create({ dim, theta, scaleBase, gamma, interleaved }, { path }) {
    if (dim % 2)
      throw new ConfigError({
        path: `${path}.dim`,
        problem: 'channels form pairs',
        expected: 'an even number',
        got: String(dim),
      });
    const pairs = Array.from({ length: dim / 2 }, (_, i) => i);
    const rates = pairs.map((i) => theta ** ((-2 * i) / dim));
    const growth = pairs.map((i) => Math.log(((2 * i) / dim + gamma) / (1 + gamma)) / scaleBase);
    return (q: Value, k: Value, ctx: SequenceContext) => {
      const turn = (x: Value, by: number): Value => {
        const positions = positionsOf(x, ctx);
        const key = `xpos ${rates.join()} ${growth.join()} ${by} of ${positions.id}`;
        const { cosines, sines } = tablesFor(x, ctx, { key, rows: positions.dims }, () => {
          const at = ops.unsqueeze(ops.cast(unexpanded(positions), 'float32'), [2]);
          const times = (numbers: readonly number[]): Value => ops.mul(at, x.graph.root.number(numbers, 'float32'));
          return { angles: times(rates), scale: ops.exp(times(growth.map((e) => by * e))) };
        });
        return ops.rotaryEmbedding(x, cosines, sines, undefined, interleaved ? { interleaved } : {});
      };
      return [turn(q, 1), turn(k, -1)] as const;
    };
  },
});
