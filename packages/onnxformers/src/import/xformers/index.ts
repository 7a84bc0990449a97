// Translates configs and checkpoints of the original xFormers, before its components were retired, to our blocks.
import { ConfigError, describe, type Kind, type SchemeName, type WeightSource } from '@onnxformers/core';
import type { OurConfig, Translated } from '../translated';
import { renameWeights } from '../weights';
import { attentionFrom, isAttention } from './attention';
import { activationConfigFrom, feedforwardFrom, isFeedforward, swigluFrom } from './feedforward';
import { simplicialFrom } from './layer';
import { blockFrom, modelFrom } from './model';
import { multiHeadFrom, timmFrom } from './multi-head';
import type { XFormersConfig, XFormersOptions } from './options';
import { patchFrom } from './patch';
import { isPosition, positionFrom } from './position';

export { noCounterpart } from '../options';
export type { OurConfig } from '../translated';
export { fromXFormersHierarchy } from './hierarchical';
export { fromXFormersMask, type XFormersMaskOptions } from './masks';
export type { XFormersConfig, XFormersOptions } from './options';
export { readXFormersYaml, type XFormersYamlOptions } from './yaml';

/** A config of ours: `zoo.parse(kind, config)` builds the module. */
export interface FromXFormers {
  readonly kind: Kind;
  readonly config: OurConfig;
  /** For models: the scheme of initial values, for `initialize(module, { scheme })`. */
  readonly scheme?: SchemeName;
}

/**
 * Translates a config of the original xFormers to one of ours: a model (`stack_configs`), an encoder or decoder block (`block_type`), multi-head
 * attention (`num_heads` and `attention`), `TimmSparseAttention` (`dim`), `SwiGLU` (`in_features`), a patch embedding
 * (`in_channels`), simplicial embeddings (`L`), an activation alone (`activation`), or an attention, feed-forward or positional encoding by its name.
 *
 * If the original deviates from the papers or its own documentation, the translation follows those, and with `compat: 'xformers'` it reproduces
 * the original:
 *
 * - a stack of several pre-norm layers has a norm after the last one, an encoder before a decoder too; compat: only a last stack of one layer
 * - DeepNorm counts the layers of encoder and decoder; compat: only those of the layer's own stack
 * - patches are embedded before the first layer, whose input is an image; compat: refused for a stack of several layers, in which the original fails
 * - decoders without an encoder read the input `memory`; compat: refused
 * - a local window keeps all of its pairs, and adds biases; compat: if there are few pairs (with `force_sparsity` always), only a multiple of four, and an
 *   additive mask only hides
 * - the norm after a decoder is the config's; compat: always a layer norm, with the fused epsilon if there is one
 * - patterns of random and global attention may be causal, and a shorter sequence has a part of them; compat: that of global is not causal, and
 *   shorter sequences are padded with keys of score 0
 * - causal favor sums over earlier keys; compat: over channels. lambda follows its paper; compat: its softmax is over channels, and distances mix no positions
 * - orthoformer refuses masks; compat: they are ignored unless it is exact. Composed queries of compositional attention keep sequences apart; compat: not
 * - `causal` of random and blocksparse attention is applied; compat: lost in multi-head attention
 * - causal nystrom is refused, and padding is excluded from landmarks; compat: neither
 * - mixtures of experts sample the second expert in training only, and are refused under a causal mask; compat: in inference too, and not refused
 * - `causal` for a mechanism without causal masks is refused; compat: ignored
 *
 * The same in both: a causal local window has its size plus one keys, linformer applies dropout twice, fourier_mix transforms each head separately.
 *
 * Throws   ConfigError for blocks and options of the original that this library does not have (its `problem` is `noCounterpart`), unknown names and options,
 *          wrong values, and stacks that do not fit together
 *
 * Example  const { kind, config } = fromXFormers({ name: 'linformer', seq_len: 64, dropout: 0.1 });
 */
export function fromXFormers(config: XFormersConfig, options: XFormersOptions = {}): FromXFormers {
  const { kind, config: ours, scheme } = translate(config, options);
  return { kind, config: ours, ...(scheme && { scheme }) };
}

/**
 * Renames a checkpoint of the original, from the names of its `state_dict` to those of the module that {@link fromXFormers} describes for the
 * same config and options. Lazy tensors stay lazy.
 *
 * Throws   ConfigError like {@link fromXFormers} · WeightError for a name that no block of the config has
 *
 * Example  const model = compile(block, { target: targets.cpu, inputs, weights: fromXFormersWeights(weights, xFormersConfig) });
 */
export function fromXFormersWeights(weights: WeightSource, config: XFormersConfig, options: XFormersOptions = {}): WeightSource {
  return renameWeights(weights, translate(config, options));
}

function translate(config: XFormersConfig, options: XFormersOptions): Translated & { readonly scheme?: SchemeName } {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new ConfigError({ path: 'xformers', problem: 'not a config', expected: 'an object', got: describe(config) });
  const { name } = config;
  if ('stack_configs' in config) return modelFrom(config, 'model', options);
  if ('block_type' in config) return blockFrom(config, String(config.block_type), options);
  if ('attention' in config) return multiHeadFrom(config, 'multi_head', options);
  if ('in_features' in config) return swigluFrom(config, 'SwiGLU');
  if ('L' in config) return simplicialFrom(config, 'SimplicialEmbedding');
  if ('in_channels' in config) return patchFrom(config, 'PatchEmbedding');
  if (name === undefined && 'dim' in config) return timmFrom(config, 'TimmSparseAttention');
  if ('activation' in config && name === undefined) return activationConfigFrom(config, 'activation');
  if (isAttention(name)) return attentionFrom(config, String(name), options);
  if (isFeedforward(name)) return feedforwardFrom(config, String(name), options);
  if (isPosition(name)) return positionFrom(config, String(name));
  const expected = 'stack_configs, block_type, num_heads and attention, or the name of a block';
  throw new ConfigError({
    path: 'xformers',
    problem: 'not a config of xFormers',
    expected,
    got: name === undefined ? describe(config) : `the name ${describe(name)}`,
  });
}
