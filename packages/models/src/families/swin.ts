// Swin. Liu et al. 2021, https://arxiv.org/abs/2103.14030
import { describe } from '@onnxformers/core';
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import type { NameEntry } from '../names';
import { labelsOf } from '../translate/heads';
import { patchEmbedding, patchesOf, patchNames, vitMlp, vitSubLayers } from './vit';

/** The norm of patches and of merged patches. */
const fixedNorm = { name: 'layer_norm', eps: 1e-5 };

/** Channels, layers and heads of a stage. */
interface Stage {
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
}

function stagesOf(config: ConfigReader): readonly Stage[] {
  const [depths, heads] = [numbers(config, 'depths'), numbers(config, 'num_heads')];
  if (depths.length !== heads.length)
    throw config.refuse('num_heads', 'not as many as there are stages', `${depths.length} numbers, as in depths`);
  const first = config.int('embed_dim', 96);
  return depths.map((depth, i) => ({ dim: first * 2 ** i, depth, heads: heads[i]! }));
}

function numbers(config: ConfigReader, key: string): readonly number[] {
  const found = config.list(key) ?? [];
  if (found.length && found.every((n) => Number.isSafeInteger(n) && (n as number) > 0)) return found as readonly number[];
  throw config.refuse(key, `wrong value: ${describe(found)}`, 'a list of integers above 0, one for each stage');
}

/** The layers of a stage; every second one has shifted windows. */
function layersOf(config: ConfigReader, { dim, depth, heads }: Stage): readonly BlockConfig[] {
  const window = config.int('window_size', 7);
  return Array.from({ length: depth }, (_, i) => ({
    name: 'pre_norm',
    dim,
    mixer: {
      name: 'shifted_window',
      window,
      shifted: i % 2 === 1,
      mixer: {
        name: 'multi_head',
        heads,
        bias: config.flag('qkv_bias', true),
        outBias: true,
        attentionBias: { name: 'swin_relative', window: [window, window] },
      },
    },
    feedforward: vitMlp(config, Math.floor(dim * config.num('mlp_ratio', 4))),
    norm: { name: 'layer_norm', eps: config.num('layer_norm_eps', 1e-5) },
  }));
}

/** Names of a layer of a stage, at its place in the stack. */
function layerNames(stage: number, block: number, at: number): readonly NameEntry[] {
  const [theirs, ours] = [`swin.encoder.layers.${stage}.blocks.${block}`, `stack.layers.${at}`];
  const mixer = `${ours}.mixer.mixer`;
  const table = 'relative_position_bias_table';
  return [
    [`${theirs}.attention.self.query.{x}`, `${mixer}.q_proj.{x}`],
    [`${theirs}.attention.self.key.{x}`, `${mixer}.k_proj.{x}`],
    [`${theirs}.attention.self.value.{x}`, `${mixer}.v_proj.{x}`],
    [`${theirs}.attention.self.${table}`, `${mixer}.attention_bias.${table}`],
    [`${theirs}.attention.output.dense.{x}`, `${mixer}.o_proj.{x}`],
    ...vitSubLayers(theirs, ours),
  ];
}

/** Names of merged patches behind a stage. */
const mergeNames = (stage: number, at: number): readonly NameEntry[] => [
  [`swin.encoder.layers.${stage}.downsample.norm.{x}`, `stack.layers.${at}.norm.{x}`],
  [`swin.encoder.layers.${stage}.downsample.reduction.{x}`, `stack.layers.${at}.proj.{x}`],
];

/** Swin: stages of layers with attention in windows, and merged patches between them. */
export const swin: Family = {
  modelTypes: ['swin'],
  tasks: ['base', 'image_classification'],
  prefix: 'swin.',
  unused: [/^classifier\./, /^swin\.embeddings\.mask_token$/],
  translate(config, { task }) {
    const layers: BlockConfig[] = [];
    const names: NameEntry[] = [];
    const stages = stagesOf(config);
    for (const [s, stage] of stages.entries()) {
      if (s > 0) {
        names.push(...mergeNames(s - 1, layers.length));
        const { dim } = stages[s - 1]!;
        layers.push({ name: 'merge_patches', dim, outDim: stage.dim, kernelSize: 2, bias: false, norm: fixedNorm });
      }
      for (const [b, layer] of layersOf(config, stage).entries()) {
        names.push(...layerNames(s, b, layers.length));
        layers.push(layer);
      }
    }
    const outDim = stages.at(-1)!.dim;
    const head =
      task === 'base' ? { name: 'pooled_encoder', projection: false } : { name: 'classifier', classes: labelsOf(config) };
    return {
      config: {
        ...head,
        pooling: 'mean',
        dim: stages[0]!.dim,
        seqLen: patchesOf(config, 4),
        embedding: { ...patchEmbedding(config, 4), fillEdge: true, norm: fixedNorm },
        ...(config.flag('use_absolute_embeddings', false) && { position: 'learnable' }),
        stack: {
          name: 'stack',
          outDim,
          depth: layers.length,
          layers,
          norm: { name: 'layer_norm', eps: config.num('layer_norm_eps', 1e-5) },
        },
      },
      names: [
        patchNames('swin.'),
        ['swin.embeddings.norm.{x}', 'embedding.norm.{x}'],
        ['swin.embeddings.position_embeddings', 'position.pos_emb'],
        ...names,
        ['swin.layernorm.{x}', 'stack.norm.{x}'],
        ['classifier.{x}', 'head.{x}'],
      ],
    };
  },
};
