// Image classifiers of CIFAR's size: a vision transformer and a MetaFormer, trained on generated images.
import { hierarchicalConfig, type KindModule, tensor, zoo } from 'onnxformers';
import { type Tensors, type Trained, train } from './adam';

const [side, classes] = [32, 10];

/** Patches of 4 × 4 pixels, learned positions, attention. Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929 */
export const visionTransformer = () =>
  zoo.build('model', {
    name: 'classifier',
    dim: 48,
    classes,
    seqLen: (side / 4) ** 2,
    embedding: { name: 'patch', kernelSize: 4 },
    position: 'learnable',
    stack: {
      name: 'stack',
      depth: 2,
      layers: {
        name: 'pre_norm',
        mixer: { name: 'multi_head', heads: 4 },
        feedforward: 'mlp',
        stochasticDepth: 0.1,
      },
      norm: 'layer_norm',
    },
  });

/** Two stages whose mixer is pooling (PoolFormer). Yu et al. 2021, https://arxiv.org/abs/2111.11418 */
export const metaFormer = () =>
  zoo.parse(
    'model',
    hierarchicalConfig(
      [
        { dim: 24, depth: 2, patchSize: 7, stride: 4, padding: 2, mixer: 'pooling' },
        { dim: 40, depth: 2, patchSize: 3, stride: 2, padding: 1, mixer: 'pooling' },
      ],
      { classes, layer: { name: 'pre_norm', layerScale: 0.1 } },
    ),
  );

/** Images of stripes with noise, whose direction is their class. */
export function stripes(batch: number, step: number): Tensors {
  const labels = Array.from({ length: batch }, (_, i) => (i * 7 + step * 3) % classes);
  const pixels = labels.flatMap((label, i) =>
    Array.from({ length: 3 * side * side }, (_, at) => {
      const [channel, row, column] = [Math.floor(at / side ** 2), Math.floor(at / side) % side, at % side];
      const angle = (Math.PI * label) / classes;
      const noise = Math.sin(at * 12.9898 + (i + 1) * 78.233 + step * 37.719) * 0.3;
      return Math.sin(row * Math.sin(angle) + column * Math.cos(angle) + channel + i + step) + noise;
    }),
  );
  return { pixels: tensor('float32', [batch, 3, side, side], pixels), labels: tensor('int64', [batch], labels) };
}

/** Trains a classifier on them. */
export function trainClassifier(model: KindModule<'model'>, steps: number): Promise<Trained> {
  const inputs = { pixels: ['float32', ['batch', 3, side, side]], labels: ['int64', ['batch']] } as const;
  return train(model, inputs, (step) => stripes(16, step), { steps, rate: 2e-3, seed: 1 });
}
