// The original's helper for hierarchical models (Swin, MetaFormer): one record for each stage becomes the configs of its layers.
import { ConfigError, checkArguments } from '@onnxformers/core';
import { type Options, optionsOf } from '../options';
import type { XFormersConfig } from './options';

/** Mechanisms that need more than their name: the options that follow from the stage. */
const needs: Readonly<Record<string, (stage: { readonly seqLen: number; readonly headDim: number }) => object>> = {
  linformer: ({ seqLen }) => ({ seq_len: seqLen }),
  lambda: ({ seqLen, headDim }) => ({ seq_len: seqLen, dim_head: headDim }),
};

/**
 * The original's `get_hierarchical_configuration`: the stack configs of a hierarchical model, from one record for each stage (`embedding`,
 * `attention_mechanism`, `patch_size`, `stride`, `padding`, `seq_len`, `feedforward`, `normalization`, `repeat_layer`) and the options
 * `residual_norm_style`, `use_rotary_embeddings`, `mlp_multiplier`, `in_channels` and `dim_head`. {@link fromXFormers} translates the result as
 * `{ stack_configs }`.
 *
 * In the original the default style is refused, and so are attentions that need more than a name; here the style is `pre`, and the length and
 * the width of heads are passed on. The original's names of weights do not change.
 *
 * Throws   ConfigError for wrong, missing or unknown options, and channels that are not a multiple of dim_head
 *
 * Example  const stage = { embedding: 8, attention_mechanism: 'pooling', patch_size: 3, stride: 2, padding: 1, seq_len: 64, feedforward: 'MLP' };
 *            const { config } = fromXFormers({ stack_configs: fromXFormersHierarchy([stage]) });
 */
export function fromXFormersHierarchy(
  stages: readonly XFormersConfig[],
  options: XFormersConfig = {},
): readonly XFormersConfig[] {
  checkArguments('fromXFormersHierarchy', { stages });
  const o = optionsOf(options, 'hierarchy');
  const common: Common = {
    style: o.word('residual_norm_style', ['pre', 'post', 'deepnorm'], 'pre'),
    rotary: o.bool('use_rotary_embeddings', true),
    multiplier: o.num('mlp_multiplier', { default: 4 }),
    headDim: o.any('dim_head') === undefined ? undefined : o.int('dim_head'),
  };
  let inChannels = o.int('in_channels', { default: 3 });
  o.finish();
  return stages.flatMap((stage, i) => {
    const s = optionsOf(stage, `hierarchy[${i}]`);
    const layers = layersOf(s, inChannels, common);
    s.finish();
    inChannels = s.int('embedding');
    return layers;
  });
}

/** What all stages share. */
interface Common {
  readonly style: string;
  readonly rotary: boolean;
  readonly multiplier: number;
  readonly headDim: number | undefined;
}

function layersOf(s: Options, inChannels: number, { style, rotary, multiplier, headDim }: Common): readonly XFormersConfig[] {
  const dim = s.int('embedding');
  const heads = headDim === undefined ? 1 : dim / headDim;
  if (!Number.isInteger(heads))
    throw new ConfigError({
      path: `${s.path}.embedding`,
      problem: 'the channels are not a number of whole heads',
      expected: `a multiple of dim_head = ${headDim}`,
      got: String(dim),
    });
  const seqLen = s.int('seq_len');
  const name = s.any('attention_mechanism');
  const attention = typeof name === 'string' ? { name, ...needs[name]?.({ seqLen, headDim: dim / heads }) } : name;
  const layer: XFormersConfig = {
    block_type: 'encoder',
    dim_model: dim,
    use_triton: false,
    residual_norm_style: style,
    multi_head_config: { num_heads: heads, use_rotary_embeddings: rotary, attention },
    feedforward_config: { name: s.any('feedforward'), activation: 'gelu', hidden_layer_multiplier: multiplier, dropout: 0 },
    position_encoding_config: { name: 'learnable', seq_len: seqLen, add_class_token: false },
    normalization: s.word('normalization', ['layernorm', 'skip'], 'layernorm'),
  };
  const patches = {
    in_channels: inChannels,
    kernel_size: s.int('patch_size'),
    stride: s.int('stride'),
    padding: s.int('padding', { min: 0 }),
  };
  const repeats = s.int('repeat_layer', { default: 1 }) - 1;
  return [{ ...layer, patch_embedding_config: patches }, ...Array.from({ length: repeats }, () => layer)];
}
