// Labels of images.
import { checkOptions } from '@onnxformers/core';
import { rowOf } from '../rows';
import { asGiven, type ImageInput, type ImageInputs, pixelsOf } from './images';
import { bestLabels, type Label } from './labels';
import { openModel } from './model';
import type { TaskDefinition } from './task';

/** Options of image classification. */
export interface ImageClassificationOptions {
  /** How many labels are returned; null is all. Default 5. */
  readonly top_k?: number | null;
}

/** The best labels of an image, or of each. */
export interface ImageClassification {
  (image: ImageInput, options?: ImageClassificationOptions): Promise<Label[]>;
  (images: readonly ImageInput[], options?: ImageClassificationOptions): Promise<Label[][]>;
}

/** Labels of whole images. */
export const imageClassification: TaskDefinition<ImageClassification, 'imageProcessor'> = {
  head: 'image_classification',
  reads: ['imageProcessor'],
  async open({ model, place, ...reader }) {
    const run = await openModel(model, place);
    async function call(images: ImageInputs, o: ImageClassificationOptions = {}) {
      checkOptions('image-classification', o, { top_k: true });
      const top = o.top_k === undefined ? 5 : o.top_k;
      const { logits } = await run({ pixels: await pixelsOf(images, reader) });
      const results = Array.from({ length: logits!.dims[0]! }, (_, b) => bestLabels(model, rowOf(logits!, b), top));
      return asGiven(images, results);
    }
    return { call: call as ImageClassification, dispose: run.dispose };
  },
};
