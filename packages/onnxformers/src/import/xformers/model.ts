// Blocks and whole models of the original.
import { ConfigError, deepNormCoefficients, type SchemeName } from '@onnxformers/core';
import { optionsOf } from '../options';
import { type OurConfig, renamed, type Translated, together, under } from '../translated';
import { type LayerFrom, layerFrom, reversibleFrom, type StackSpec, stackFrom } from './layer';
import type { XFormersConfig, XFormersOptions } from './options';

/** A translated model, with the scheme of its initial values. */
export interface TranslatedModel extends Translated<'model'> {
  readonly scheme?: SchemeName;
}

// One layer of the original, with its name.
interface Placed {
  readonly spec: StackSpec;
  /** Its name in a checkpoint: `encoders.0.`. */
  readonly prefix: string;
  /** A norm follows it (pre style), and the config's options for the last layer apply. */
  readonly last: boolean;
}

/** A single encoder or decoder block, which is the first and the last of its stack. */
export function blockFrom(given: XFormersConfig, path: string, options: XFormersOptions): TranslatedModel {
  const spec = stackFrom(given, path, options);
  checkReversible([spec], path);
  return sideFrom([{ spec, prefix: '', last: true }], options, { own: spec.layers, others: 0 });
}

/**
 * A model of encoder and decoder stacks; one without an encoder reads the input `memory`.
 *
 * Throws   ConfigError if stacks do not fit together, and with compat for a model without an encoder
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
  if (tied && specs.some(({ reversible }) => reversible))
    throw new ConfigError({
      path: `${path}.tie_embedding_weights`,
      problem: 'a reversible encoder has an embedding of its own',
      expected: 'false',
      got: 'true',
    });
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
  // The original embeds for the first encoder with the first decoder's module, and ignores the encoder's config.
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
  checkReversible(specs, path);
}

function checkReversible(specs: readonly StackSpec[], path: string): void {
  const encoders = specs.filter(({ role }) => role === 'encoder');
  const some = specs.find(({ reversible }) => reversible);
  if (!some) return;
  const fault = (problem: string, expected: string, got: string): ConfigError =>
    new ConfigError({ path, problem, expected, got });
  const listed = (of: readonly StackSpec[]) => of.map(({ role, reversible }) => `${role} ${reversible}`).join(', ');
  if (specs.some(({ role, reversible }) => role === 'decoder' && reversible))
    throw fault('a decoder cannot be reversible', 'reversible in encoders only', listed(specs));
  if (encoders.some(({ reversible }) => !reversible))
    throw fault('some encoder stacks only are reversible', 'reversible in all encoder stacks or in none', listed(encoders));
  if (some.style === 'deepnorm')
    throw fault('reversible layers have no residual connections to scale', 'residual_norm_style pre or post', some.style);
  const width = encoders.find(({ dim, position }) => dim !== some.dim || (position && position.config.dim !== some.dim));
  const option = encoders.find(({ patch, simplicial }) => patch || simplicial);
  if (width || option)
    throw fault(
      'reversible layers are used without patches, simplicial embeddings and changes of width',
      `dim_model ${some.dim} everywhere`,
      option ? `patch_embedding_config or simplicial_embeddings of ${option.path}` : `another width in ${width!.path}`,
    );
}

function placed(specs: readonly StackSpec[], role: StackSpec['role'], { compat }: XFormersOptions): Placed[] {
  const own = specs.filter((spec) => spec.role === role);
  const layers = own.flatMap((spec) => Array.from({ length: spec.layers }, () => spec));
  const final = specs.at(-1);
  return layers.map((spec, i) => {
    const end = i === layers.length - 1;
    // In the original, a stack has a "last" layer only if it is the last stack and has one layer.
    const last = end && (!compat || (spec === final && spec.layers === 1));
    return { spec, prefix: `${role}s.${i}.`, last };
  });
}

/** The numbers of layers for DeepNorm: of the same role and of the other. */
interface Depths {
  readonly own: number;
  readonly others: number;
}

/** The layers of one role: embedding, positions, stack. */
function sideFrom(layers: readonly Placed[], options: XFormersOptions, depths: Depths): TranslatedModel {
  const { spec, prefix } = layers[0]!;
  if (spec.reversible) return reversibleSideFrom(layers, options);
  refuseRepeatedPatches(layers, options);
  const parts = layers.flatMap((layer, i) => [
    ...mergeFrom(layer, layers[i - 1]),
    ...partsFrom(layer, spec.dim, depths, options),
  ]);
  const { spec: final, last, prefix: finalPrefix } = layers.at(-1)!;
  const behind = final.style === 'pre' && last ? final.finalNorm : undefined;
  const norm = last && final.simplicial ? { ...final.simplicial, ...(behind && { norm: behind }) } : behind;
  const stack: OurConfig = {
    name: 'stack',
    depth: parts.length,
    layers: parts.map(({ config }) => config),
    ...(final.dim !== spec.dim && { outDim: final.dim }),
    ...(norm && { norm }),
  };
  const { position, patch, dim } = spec;
  const slot = position && {
    [position.kind]: position.config,
    ...(position.config.dim !== dim && { embeddingDim: position.config.dim }),
  };
  const causal = layers.every((layer) => layer.spec.causal) && spec.role === 'decoder';
  const config: OurConfig = {
    name: causal ? 'decoder' : 'encoder',
    dim,
    ...(patch && { embedding: patch.config }),
    ...slot,
    ...gainFrom(spec, depths, options),
    stack,
  };
  const weights = together(
    ...(patch ? [under(`${prefix}patch_emb.`, 'embedding.', patch)] : []),
    ...repeatedPatches(layers),
    ...(position ? [under(`${prefix}pose_encoding.`, `${position.kind}.`, position)] : []),
    renamed([`${prefix}embedding_projector`, 'embedding_projection']),
    ...(behind ? [renamed([`${finalPrefix}wrap_ff.norm`, norm === behind ? 'stack.norm' : 'stack.norm.norm'])] : []),
    ...parts.map((part, i) => under(part.prefix, `stack.layers.${i}.`, part)),
  );
  return { kind: 'model', config, ...weights };
}

/** The reversible layers of an encoder: the original embeds and adds positions before them, and does nothing after them. */
function reversibleSideFrom(layers: readonly Placed[], { inputMasks }: XFormersOptions): TranslatedModel {
  const { position, dim } = layers[0]!.spec;
  const parts = layers.map(({ spec }) => reversibleFrom(spec));
  const stack = {
    name: 'reversible_stack',
    depth: parts.length,
    layers: parts.map(({ config }) => config),
    ...(inputMasks && { addInputMask: true }),
  };
  const config = { name: 'encoder', dim, ...(position && { [position.kind]: position.config }), stack };
  const weights = together(
    ...(position ? [under('rev_enc_pose_encoding.', `${position.kind}.`, position)] : []),
    ...parts.map((part, i) => under(`encoders.blocks.${i}.`, `stack.layers.${i}.`, part)),
  );
  return { kind: 'model', config, ...weights };
}

// The original scales the initial values of a whole encoder or decoder; in the paper, embeddings are not scaled.
function gainFrom({ style, role }: StackSpec, { own, others }: Depths, { compat }: XFormersOptions): object {
  if (style !== 'deepnorm' || !compat) return {};
  const [encoderLayers, decoderLayers] = role === 'encoder' ? [own, others] : [others, own];
  return { embeddingGain: deepNormCoefficients({ encoderLayers, decoderLayers })[role]!.beta };
}

/** A layer of ours, with the prefix of its weights in the original's checkpoint. */
type Part = LayerFrom[number] & { readonly prefix: string };

function partsFrom({ spec, last, prefix }: Placed, first: number, depths: Depths, options: XFormersOptions): readonly Part[] {
  const width = spec.dim === first ? {} : { dim: spec.dim };
  return layerFrom(spec, last, options).map((part) => ({
    ...part,
    config: { ...withDepths(part.config, spec, depths, options), ...width },
    prefix,
  }));
}

/** The patches of the hidden states before a later stack. */
function mergeFrom({ spec, prefix }: Placed, before: Placed | undefined): readonly Part[] {
  if (!before || !spec.patch || spec === before.spec) return [];
  const { inChannels, dim, name: _, ...config } = spec.patch.config;
  if (inChannels !== before.spec.dim)
    throw new ConfigError({
      path: `${spec.path}.patch_embedding_config.in_channels`,
      problem: 'differs from dim_model of the stack before it',
      expected: String(before.spec.dim),
      got: String(inChannels),
    });
  const merge = { name: 'merge_patches', dim: inChannels, outDim: dim, ...config };
  return [{ ...spec.patch, config: merge, prefix: `${prefix}patch_emb.` }];
}

// The original embeds patches in every layer of a stack, and so fails from the second layer on.
function refuseRepeatedPatches(layers: readonly Placed[], { compat }: XFormersOptions): void {
  const again = compat && layers.find(({ spec }, i) => spec.patch && spec === layers[i - 1]?.spec);
  if (!again) return;
  throw new ConfigError({
    path: `${again.spec.path}.patch_embedding_config`,
    problem: 'the original embeds patches in every layer, and fails in the second',
    expected: 'num_layers 1',
    got: String(again.spec.layers),
    hint: "Give the other layers as a second stack, or leave out compat: 'xformers' to embed patches only once",
  });
}

// Its checkpoints contain patch embeddings of the layers that never run.
const repeatedPatches = (layers: readonly Placed[]) =>
  layers.flatMap(({ spec, prefix }, i) =>
    spec.patch && spec === layers[i - 1]?.spec ? [{ names: [], unused: [`${prefix}patch_emb.{x}`], added: [] }] : [],
  );

// The original computes alpha only from the depth of the layer's own stack.
function withDepths(config: OurConfig, spec: StackSpec, depths: Depths, options: XFormersOptions): OurConfig {
  if (config.name === 'input_masked') return { ...config, layer: withDepths(config.layer as OurConfig, spec, depths, options) };
  if (config.name !== 'deep_norm') return config;
  const { own, others } = depths;
  const other = others ? { [spec.role === 'encoder' ? 'decoderDepth' : 'encoderDepth']: others } : {};
  return { ...config, depth: own, ...other, ...(options.compat && { alpha: (2 * spec.layers) ** (1 / 4) }) };
}
