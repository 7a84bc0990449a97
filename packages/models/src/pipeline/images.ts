// Images as what a pipeline is called with.
import type { Tensor } from '@onnxformers/core';
import { decodeImage, type Sharp } from '../images/decode';
import type { ImageProcessor } from '../images/image-processor';
import type { RawImage } from '../images/resample';

/** An image: its pixels, or a file (PNG, JPEG, WebP, …) that the platform or the option `sharp` decodes. */
export type ImageInput = RawImage | Blob | Uint8Array;

/** One image, or several of a batch. */
export type ImageInputs = ImageInput | readonly ImageInput[];

const isList = (images: ImageInputs): images is readonly ImageInput[] => Array.isArray(images);

/** `pixels` of images, as the checkpoint wants them. */
export async function pixelsOf(
  images: ImageInputs,
  { processor, sharp }: { readonly processor: ImageProcessor; readonly sharp: Sharp | undefined },
): Promise<Tensor> {
  const raw = async (image: ImageInput): Promise<RawImage> =>
    image instanceof Blob || image instanceof Uint8Array ? decodeImage(image, sharp) : image;
  return processor.process(await Promise.all((isList(images) ? images : [images]).map(raw)));
}

/** The results of a call: of one image the only one, of a list all. */
export const asGiven = <T>(images: ImageInputs, results: readonly T[]): T | readonly T[] =>
  isList(images) ? results : results[0]!;
