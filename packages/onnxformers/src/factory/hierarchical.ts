// Configs of hierarchical models (Swin, MetaFormer): stages with fewer positions and more channels each.
import { ConfigError, checkArguments } from '@onnxformers/core';

/** A block in a config: its name, or its name and options. */
type BlockConfig = string | { readonly name: string; readonly [option: string]: unknown };

/** One stage: patches of the image or of the stage before, then layers. */
export interface Stage {
  /** Channels. */
  readonly dim: number;
  /** Number of layers. */
  readonly depth: number;
  /** Height and width of a patch. */
  readonly patchSize: number;
  /** Distance between patches; default patchSize. */
  readonly stride?: number;
  /** Zeros around the image; default 0. */
  readonly padding?: number;
  /** The mixer of each layer. */
  readonly mixer: BlockConfig;
  /** The feed-forward of each layer; default `mlp`. */
  readonly feedforward?: BlockConfig;
}

/** Options of {@link hierarchicalConfig}. */
export interface HierarchicalOptions {
  /** Channels of the image; default 3. */
  readonly inChannels?: number;
  /** With it the model is a classifier of so many classes, otherwise an encoder. */
  readonly classes?: number;
  /** The residual layers, to which each stage adds its mixer and feed-forward; default `pre_norm`. */
  readonly layer?: BlockConfig;
  /** Norm after the last layer; default `layer_norm`, null for none. */
  readonly norm?: BlockConfig | null;
  /** Positions that are added after the first patches. */
  readonly position?: BlockConfig;
}

/**
 * The config of a hierarchical model: patches of an image, then stages of layers, with patches of hidden states between them.
 *
 * Throws   ConfigError without a stage
 * Source   Liu et al. 2021, https://arxiv.org/abs/2103.14030; Yu et al. 2021, https://arxiv.org/abs/2111.11418
 *
 * Example  const config = hierarchicalConfig([{ dim: 64, depth: 2, patchSize: 7, stride: 4, padding: 2, mixer: 'pooling' }], { classes: 10 });
 *            const model = zoo.parse('model', config);
 */
export function hierarchicalConfig(
  stages: readonly Stage[],
  o: HierarchicalOptions = {},
): { readonly name: string; readonly [field: string]: unknown } {
  checkArguments('hierarchicalConfig', { stages });
  const { inChannels = 3, classes, layer = 'pre_norm', norm = 'layer_norm', position } = o;
  const [first] = stages;
  const last = stages.at(-1);
  if (!first || !last)
    throw new ConfigError({ path: 'hierarchicalConfig', problem: 'no stages', expected: 'one or more', got: 'none' });
  const layers = stages.flatMap((stage, i) => {
    const own = {
      ...asConfig(layer),
      dim: stage.dim,
      mixer: asConfig(stage.mixer),
      feedforward: asConfig(stage.feedforward ?? 'mlp'),
    };
    const merge = { name: 'merge_patches', dim: stages[i - 1]?.dim, outDim: stage.dim, ...patchesOf(stage) };
    return [...(i ? [merge] : []), ...Array.from({ length: stage.depth }, () => own)];
  });
  return {
    name: classes === undefined ? 'encoder' : 'classifier',
    dim: first.dim,
    ...(classes !== undefined && { classes }),
    embedding: { name: 'patch', inChannels, ...patchesOf(first) },
    ...(position !== undefined && { position: asConfig(position) }),
    stack: { name: 'stack', outDim: last.dim, depth: layers.length, layers, ...(norm !== null && { norm: asConfig(norm) }) },
  };
}

const asConfig = (block: BlockConfig) => (typeof block === 'string' ? { name: block } : block);
const patchesOf = ({ patchSize, stride = patchSize, padding = 0 }: Stage) => ({ kernelSize: patchSize, stride, padding });
