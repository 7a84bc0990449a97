// Labels of images that a model was not trained on: each is a text that an image is compared with.
import { checkOptions } from '@onnxformers/core';
import { towersOf } from '../parts';
import { rowOf } from '../rows';
import { hypothesesOf } from './hypotheses';
import { asGiven, type ImageInput, type ImageInputs, pixelsOf } from './images';
import { type Label, sigmoid } from './labels';
import { best, openModel, softmax, textFeeds, textFit } from './model';
import type { TaskDefinition } from './task';

/** Options of zero-shot image classification. */
export interface ZeroShotImageOptions {
  /** The text that an image is compared with; `{}` is the label. Default `This is a photo of {}` */
  readonly hypothesis_template?: string;
}

/** All labels of an image, or of each, the likeliest first. */
export interface ZeroShotImageClassification {
  (image: ImageInput, candidate_labels: string | readonly string[], options?: ZeroShotImageOptions): Promise<Label[]>;
  (
    images: readonly ImageInput[],
    candidate_labels: string | readonly string[],
    options?: ZeroShotImageOptions,
  ): Promise<Label[][]>;
}

/** Labels by the similarities of CLIP, whose scores are a distribution over the labels, or of SigLIP, whose scores are independent. */
export const zeroShotImageClassification: TaskDefinition<ZeroShotImageClassification, 'tokenizer' | 'imageProcessor'> = {
  head: 'base',
  reads: ['tokenizer', 'imageProcessor'],
  async open({ model, place, tokenizer, ...reader }) {
    const { text } = towersOf(model);
    const fit = textFit(tokenizer, text);
    // Similarities with a bias are logits of independent pairs.
    const scores = model.config.logitBias ? sigmoid : softmax;
    const run = await openModel(model, place);
    async function call(images: ImageInputs, given: string | readonly string[], o: ZeroShotImageOptions = {}) {
      checkOptions('zero-shot-image-classification', o, { hypothesis_template: true });
      const template = o.hypothesis_template ?? 'This is a photo of {}';
      const { labels, texts } = hypothesesOf('zero-shot-image-classification', given, template);
      const pixels = await pixelsOf(images, reader);
      const { logits_per_image: logits } = await run({ ...textFeeds(run, tokenizer(texts, fit)), pixels });
      const results = Array.from({ length: logits!.dims[0]! }, (_, b) =>
        best(scores(rowOf(logits!, b)), null).map(({ index, score }): Label => ({ label: labels[index]!, score })),
      );
      return asGiven(images, results);
    }
    return { call: call as ZeroShotImageClassification, dispose: run.dispose };
  },
};
