// Blocks and whole models of the original.
import { ConfigError, type SchemeName } from '@onnxformers/core';
import { optionsOf } from '../options';
import { type OurConfig, renamed, type Translated, together, under } from '../translated';
import { layerFrom, refuseMissing, type StackSpec, stackFrom } from './layer';
import type { XFormersConfig, XFormersOptions } from './options';

/** A translated model, with the scheme that made its first values. */
export interface TranslatedModel extends Translated<'model'> {
  readonly scheme?: SchemeName;
}

// One layer of the original in its place.
interface Placed {
  readonly spec: StackSpec;
  /** Its name in a checkpoint: `encoders.0.`. */
  readonly prefix: string;
  /** A norm stands behind it (pre style), and so does what the config wants behind the last layer. */
  readonly last: boolean;
}

/** One encoder or decoder block by itself, which is the first and the last of its stack. */
export function blockFrom(given: XFormersConfig, path: string, options: XFormersOptions): TranslatedModel {
  const spec = stackFrom(given, path, options);
  return sideFrom([{ spec, prefix: '', last: true }], options, { own: spec.layers, others: 0 });
}

/**
 * A model of encoder and decoder stacks; one without an encoder reads the input `memory`.
 *
 * Throws   ConfigError where stacks do not go together, and with compat for a model without an encoder
 */
export function modelFrom(given: XFormersConfig, path: string, options: XFormersOptions): TranslatedModel {
  const o = optionsOf(given, path);
  const stacks = Object.entries((o.any('stack_configs') ?? {}) as object);
  const isList = Array.isArray(given.stack_configs);
  const specs = stacks.map(([name, stack]) =>
    stackFrom(stack, `${path}.stack_configs${isList ? `[${name}]` : `.${name}`}`, options, given),
  );
  const tied = o.bool('tie_embedding_weights', false);
  const scheme = o.word('weight_init', ['vit', 'small', 'timm', 'moco'], 'vit');
  o.finish();
  checkTogether(specs, path);
  const [encoders, decoders] = (['encoder', 'decoder'] as const).map((role) => placed(specs, role, options)) as [
    Placed[],
    Placed[],
  ];
  if (!encoders.length && (options.compat || !decoders.length))
    throw new ConfigError({
      path,
      problem: 'the model has a decoder and no encoder',
      expected: 'a stack of block_type encoder',
      got: `${decoders.length} decoder layers`,
    });
  if (!encoders.length) return { ...sideFrom(decoders, options, { own: decoders.length, others: 0 }), scheme };
  const depths = { own: encoders.length, others: decoders.length };
  if (!decoders.length) return { ...sideFrom(encoders, options, depths), scheme };
  // The original embeds for the first encoder with the first decoder's module, whatever the encoder's config says.
  const { position } = decoders[0]!.spec;
  const encoder = sideFrom(tied ? encoders.map((layer) => embedding(layer, position)) : encoders, options, depths);
  const decoder = sideFrom(decoders, options, { own: decoders.length, others: encoders.length });
  const tiedEmbeddings = tied && position !== undefined && position.names.length > 0;
  const config = {
    name: 'encoder_decoder',
    dim: specs[0]!.dim,
    encoder: encoder.config,
    decoder: decoder.config,
    ...(tiedEmbeddings && { tiedEmbeddings }),
  };
  return { kind: 'model', config, scheme, ...together(under('', 'encoder.', encoder), under('', 'decoder.', decoder)) };
}

const embedding = (layer: Placed, position: StackSpec['position']): Placed => ({ ...layer, spec: { ...layer.spec, position } });

function checkTogether(specs: readonly StackSpec[], path: string): void {
  const deep = specs.filter(({ style }) => style === 'deepnorm');
  if (deep.length && deep.length !== specs.length)
    throw new ConfigError({
      path,
      problem: 'deepnorm in some stacks only',
      expected: 'residual_norm_style deepnorm in all stacks or in none',
      got: specs.map(({ style }) => style).join(', '),
    });
}

function placed(specs: readonly StackSpec[], role: StackSpec['role'], { compat }: XFormersOptions): Placed[] {
  const own = specs.filter((spec) => spec.role === role);
  const layers = own.flatMap((spec) => Array.from({ length: spec.layers }, () => spec));
  const final = specs.at(-1);
  return layers.map((spec, i) => {
    const end = i === layers.length - 1;
    // The original's stack has a last layer only where it is the last stack and of one layer.
    const last = end && (!compat || (spec === final && spec.layers === 1));
    return { spec, prefix: `${role}s.${i}.`, last };
  });
}

/** How many layers a DeepNorm model counts: of the same role and of the other. */
interface Depths {
  readonly own: number;
  readonly others: number;
}

/** The layers of one role: embedding, positions, stack. */
function sideFrom(layers: readonly Placed[], options: XFormersOptions, depths: Depths): TranslatedModel {
  const { spec, prefix } = layers[0]!;
  for (const layer of layers) refuseMissing(layer.spec, layer.last);
  const parts = layers.flatMap((layer) => layerFrom(layer.spec, layer.last, options).map((part) => ({ part, layer })));
  const configs = parts.map(({ part, layer }) => withDepths(part.config, layer.spec, depths, options));
  const { spec: final, last, prefix: finalPrefix } = layers.at(-1)!;
  const behind = final.style === 'pre' && last ? final.finalNorm : undefined;
  const stack: OurConfig = { name: 'stack', depth: configs.length, layers: configs, ...(behind && { norm: behind }) };
  const { position, dim } = spec;
  const slot = position && {
    [position.kind]: position.config,
    ...(position.config.dim !== dim && { embeddingDim: position.config.dim }),
  };
  const causal = layers.every((layer) => layer.spec.causal) && spec.role === 'decoder';
  const config: OurConfig = { name: causal ? 'decoder' : 'encoder', dim, ...slot, stack };
  const weights = together(
    ...(position ? [under(`${prefix}pose_encoding.`, `${position.kind}.`, position)] : []),
    renamed([`${prefix}embedding_projector`, 'embedding_projection']),
    ...(behind ? [renamed([`${finalPrefix}wrap_ff.norm`, 'stack.norm'])] : []),
    ...parts.map(({ part, layer }, i) => under(layer.prefix, `stack.layers.${i}.`, part)),
  );
  return { kind: 'model', config, ...weights };
}

// The original weighs the stream by the depth of the layer's own stack alone.
function withDepths(config: OurConfig, spec: StackSpec, depths: Depths, options: XFormersOptions): OurConfig {
  if (config.name === 'input_masked') return { ...config, layer: withDepths(config.layer as OurConfig, spec, depths, options) };
  if (config.name !== 'deep_norm') return config;
  const { own, others } = depths;
  const other = others ? { [spec.role === 'encoder' ? 'decoderDepth' : 'encoderDepth']: others } : {};
  return { ...config, depth: own, ...other, ...(options.compat && { alpha: (2 * spec.layers) ** (1 / 4) }) };
}
