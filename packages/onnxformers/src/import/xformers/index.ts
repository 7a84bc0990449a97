// Configs and checkpoints of the original xFormers, as they were before its components were retired, in terms of our blocks.
import { ConfigError, describe, type Kind, type SchemeName, type WeightSource } from '@onnxformers/core';
import type { OurConfig, Translated } from '../translated';
import { renameWeights } from '../weights';
import { attentionFrom, isAttention } from './attention';
import { activationConfigFrom, feedforwardFrom, isFeedforward, swigluFrom } from './feedforward';
import { blockFrom, modelFrom } from './model';
import { multiHeadFrom, timmFrom } from './multi-head';
import type { XFormersConfig, XFormersOptions } from './options';
import { isPosition, positionFrom } from './position';

export { noCounterpart } from '../options';
export type { OurConfig } from '../translated';
export { fromXFormersMask, type XFormersMaskOptions } from './masks';
export type { XFormersConfig, XFormersOptions } from './options';

/** A config of ours: `zoo.parse(kind, config)` builds the module. */
export interface FromXFormers {
  readonly kind: Kind;
  readonly config: OurConfig;
  /** For models: the scheme of first values, for `initialize(module, { scheme })`. */
  readonly scheme?: SchemeName;
}

/**
 * A config of the original xFormers as one of ours: a model (`stack_configs`), an encoder or decoder block (`block_type`), multi-head
 * attention (`num_heads` and `attention`), `TimmSparseAttention` (`dim`), `SwiGLU` (`in_features`), an activation alone
 * (`activation`), or an attention, feed-forward or positional encoding by its name.
 *
 * Where the original is at odds with the papers or its own documentation, this follows those, and it does what the original does with
 * `compat: 'xformers'`:
 *
 * - a stack of several pre-norm layers has a norm behind the last one, an encoder before a decoder too; compat: only a last stack of one layer
 * - DeepNorm weighs the stream by the layers of encoder and decoder; compat: of the layer's own stack
 * - decoders without an encoder read the input `memory`; compat: refused
 * - a local window keeps all of its pairs, and biases beside it; compat: of few pairs a multiple of four, and of an additive mask what it hides
 * - the norm behind a decoder is the config's; compat: a layer norm in any case, and of the fused epsilon where there is one
 * - causal nystrom is refused, and padding takes no part in landmarks; compat: neither
 * - a local window keeps all of its pairs; compat: where they are few (with `force_sparsity` always), a multiple of four
 * - `causal` where a mechanism has no such thing is refused; compat: dropped
 *
 * Kept in any case: a causal local window holds its size and one more, dropout twice in linformer, a transform for each head in fourier_mix.
 *
 * Throws   ConfigError for what the original has and this library has not (its `problem` is `noCounterpart`), unknown names and options, wrong
 *          values, and stacks that do not go together
 *
 * Example  const { kind, config } = fromXFormers({ name: 'linformer', seq_len: 64, dropout: 0.1 });
 */
export function fromXFormers(config: XFormersConfig, options: XFormersOptions = {}): FromXFormers {
  const { kind, config: ours, scheme } = translate(config, options);
  return { kind, config: ours, ...(scheme && { scheme }) };
}

/**
 * A checkpoint of the original, by the names of its `state_dict`, under the names of the module that {@link fromXFormers} describes with the
 * same config and options. Tensors stay as lazy as they are.
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
  if (name === undefined && 'dim' in config) return timmFrom(config, 'TimmSparseAttention');
  if ('activation' in config && name === undefined) return activationConfigFrom(config, 'activation');
  if (isAttention(name)) return attentionFrom(config, String(name), options);
  if (isFeedforward(name)) return feedforwardFrom(config, String(name));
  if (isPosition(name)) return positionFrom(config, String(name));
  const expected = 'stack_configs, block_type, num_heads and attention, or the name of a block';
  throw new ConfigError({
    path: 'xformers',
    problem: 'not a config of the original',
    expected,
    got: name === undefined ? describe(config) : `the name ${describe(name)}`,
  });
}
