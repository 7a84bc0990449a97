// Hidden states of images, or one vector for each image.
import { ConfigError, castTensor, checkOptions, type Tensor } from '@onnxformers/core';
import { type ImageInputs, pixelsOf } from './images';
import { openModel } from './model';
import type { TaskDefinition } from './task';

/** Options of image feature extraction. */
export interface ImageFeatureExtractionOptions {
  /**
   * Whether an image becomes one vector, as the checkpoint pools it: that of the class token, the mean, or of CLIP and SigLIP the embedding that is compared with those of
   * texts, with the length that it has. Default false: the hidden states.
   */
  readonly pool?: boolean | null;
}

/** float32 [images, positions, dim], or pooled [images, dim]. */
export type ImageFeatureExtraction = (images: ImageInputs, options?: ImageFeatureExtractionOptions) => Promise<Tensor>;

/** Vectors of images. */
export const imageFeatureExtraction: TaskDefinition<ImageFeatureExtraction, 'imageProcessor'> = {
  head: 'base',
  reads: ['imageProcessor'],
  tower: 'vision',
  async open({ part, place, ...reader }) {
    const run = await openModel(part, place);
    async function call(images: ImageInputs, o: ImageFeatureExtractionOptions = {}): Promise<Tensor> {
      checkOptions('image-feature-extraction', o, { pool: true });
      const { hidden_states, pooler_output } = await run({ pixels: await pixelsOf(images, reader) });
      const features = o.pool ? pooler_output : hidden_states;
      if (features) return castTensor(features, 'float32');
      throw new ConfigError({
        path: 'image-feature-extraction: pool',
        problem: 'the checkpoint has no pooler',
        expected: 'pool: false, for the hidden states',
        got: 'pool: true',
      });
    }
    return { call, dispose: run.dispose };
  },
};
