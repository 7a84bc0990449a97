// Rotary position embedding of three axes: time, height and width. Wang et al. 2024, https://arxiv.org/abs/2409.12191
import {
  bool,
  ConfigError,
  choice,
  defineBlock,
  int,
  list,
  num,
  type SequenceContext,
  ShapeError,
  tensor,
  text,
  type Value,
} from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { kernels } from './kernels/rotary-embedding';
import { positionsOf, tablesFor } from './rotary-tables';

/**
 * Multi-section rotary position embedding (M-RoPE): a token of an image or a video has three positions, and each pair of channels is rotated by one of them.
 *
 *     (x₁, x₂) → (x₁ cos a − x₂ sin a, x₂ cos a + x₁ sin a)      a = position_s(i) · θᵢ      θᵢ = theta^(−2i/dim)
 *
 * Pair i belongs to section s(i): time, height or width. The three positions are the model's input `input`, int64 [3, batch, seq], packed [3, tokens], of the tokens
 * of this call. A model without it has text only: all three are the position in the sequence, and the result is that of `rotary`.
 *
 * Shapes   q [batch, heads, seq, head_dim], k [batch, kv_heads, seq, head_dim] → the same
 * Dtypes   float32, float16, bfloat16; angles in float32
 * Cost     time O(seq · heads · headDim), memory O(seq · headDim) for sines and cosines
 * Throws   ConfigError for an odd dim, and for sections that are not those of dim / 2 pairs · ShapeError for an input of other dims
 * Source   Wang et al. 2024, https://arxiv.org/abs/2409.12191
 * Lowers   everywhere: RotaryEmbedding; portable below opset 23: primitives
 * Example  const block = multiSectionRotary({ dim: 128, theta: 1e6, sections: [16, 24, 24] });
 */
export const multiSectionRotary = defineBlock({
  kind: 'rotaryEmbedding',
  name: 'multi_section_rotary',
  summary: 'Rotates pairs of channels by their positions in time, height or width.',
  source: 'Wang et al. 2024, https://arxiv.org/abs/2409.12191',
  rules: kernels,
  fields: {
    /** channels of a head. Inherited from the enclosing block. */
    dim: int({ doc: 'channels of a head', unit: 'channels', min: 2, max: 65_536, inherit: true }),
    /** base of the rotary frequencies (rope_theta). Default: `10000`. */
    theta: num({ doc: 'base of the rotary frequencies (rope_theta)', min: 1, default: 10_000 }),
    /** pairs of channels of time, height and width (mrope_section). Default: computed from other options. */
    sections: list(int({ doc: 'pairs', min: 0, max: 32_768 }), {
      doc: 'pairs of channels of time, height and width (mrope_section)',
      length: 3,
      default: (c: { dim: number }) => {
        const side = Math.floor((3 * c.dim) / 16);
        return [Math.floor(c.dim / 2) - 2 * side, side, side];
      },
    }),
    /** sections one after another, or pairs of time, height and width in turn, and the rest time. Default: `"blocks"`. */
    sectionOrder: choice(['blocks', 'interleaved'], {
      doc: 'sections one after another, or pairs of time, height and width in turn, and the rest time',
      default: 'blocks',
    }),
    /** channels 2i and 2i + 1 form a pair, instead of i and i + dim / 2. Default: `false`. */
    interleaved: bool({ doc: 'channels 2i and 2i + 1 form a pair, instead of i and i + dim / 2', default: false }),
    /** the input of the model that contains the three positions. Default: `"multimodal_position_ids"`. */
    input: text({ doc: 'the input of the model that contains the three positions', default: 'multimodal_position_ids' }),
  },
  examples: [{ dim: 6 }, { dim: 16, theta: 500, sections: [4, 3, 1], sectionOrder: 'interleaved', interleaved: true }],
  properties: ['batchIndependent', 'causal'],
  create({ dim, theta, sections, sectionOrder, interleaved, input }, { path }) {
    const pairs = dim / 2;
    const ofPair = sectionOrder === 'blocks' ? inBlocks(sections) : inTurn(sections, pairs);
    if (dim % 2 || sections.reduce((a, b) => a + b) !== pairs || ofPair.length !== pairs)
      throw new ConfigError({
        path: `${path}.sections`,
        problem: 'the sections are not the pairs of the channels',
        expected: `three numbers that add up to dim / 2 = ${pairs}${sectionOrder === 'blocks' ? '' : ', in turn'}`,
        got: `[${sections.join(', ')}]`,
      });
    const rates = Array.from({ length: pairs }, (_, i) => theta ** ((-2 * i) / dim));
    return (q: Value, k: Value, ctx: SequenceContext) => {
      const turn = (x: Value): Value => {
        const one = positionsOf(x, ctx);
        const three = ctx.inputs?.[input];
        const key = `multi-section rotary ${rates.join()} ${ofPair.join()} of ${three?.id ?? ''} ${one.id}`;
        const { cosines, sines } = tablesFor(x, ctx, { key, rows: one.dims }, () => {
          const g = x.graph.root;
          const at = three ? ofSections(three, one, ofPair, path) : ops.unsqueeze(unexpanded(one), [2]);
          return { angles: ops.mul(ops.cast(at, 'float32'), g.number(rates, 'float32')) };
        });
        return ops.rotaryEmbedding(x, cosines, sines, undefined, interleaved ? { interleaved } : {});
      };
      return [turn(q), turn(k)] as const;
    };
  },
});

const inBlocks = (sections: readonly number[]): number[] =>
  sections.flatMap((count, section) => new Array<number>(count).fill(section));

/** Pairs 1, 4, 7, … belong to the height and 2, 5, 8, … to the width, until their sections are full; empty if they do not fit. */
function inTurn([, height, width]: readonly number[], pairs: number): number[] {
  const of = (i: number): number => (i % 3 === 1 && i < 3 * height! ? 1 : i % 3 === 2 && i < 3 * width! ? 2 : 0);
  const all = Array.from({ length: Math.floor(pairs) }, (_, i) => of(i));
  const fits = [height, width].every((count, i) => all.filter((s) => s === i + 1).length === count);
  return fits ? all : [];
}

/** The position of each pair, [batch, seq, pairs]. */
function ofSections(three: Value, one: Value, ofPair: readonly number[], path: string): Value {
  // From the graph: text alone loads nothing of this.
  const { ops } = three.graph;
  const rows = three.rank === 2 ? ops.unsqueeze(three, [1]) : three;
  if (`${rows.dims}` !== `${[3, ...one.dims]}`)
    throw new ShapeError({
      path: `${path}.input`,
      problem: 'the three positions are not those of the tokens of this call',
      expected: `int64[3, ${one.dims.join(', ')}]`,
      got: `[${three.dims.join(', ')}]`,
    });
  const section = one.graph.root.constant(tensor('int64', [ofPair.length], [...ofPair]));
  return ops.transpose(ops.gather(rows, section, 0), [1, 2, 0]);
}
