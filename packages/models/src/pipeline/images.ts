// Images as what a pipeline is called with.
import { ConfigError, describe, type Tensor } from '@onnxformers/core';
import { decodeImage } from '../images/decode';
import type { RawImage } from '../images/resample';
import type { Parts, Preprocessors } from './task';

/** An image: its pixels, or a file (PNG, JPEG, WebP, …) that the platform or the option `sharp` decodes: its bytes, or its address. */
export type ImageInput = RawImage | Blob | Uint8Array | URL | string;

/** One image, or several of a batch. */
export type ImageInputs = ImageInput | readonly ImageInput[];

/** What images are read with. */
type Reader = Pick<Parts, 'read' | 'sharp'> & Pick<Preprocessors, 'imageProcessor'>;

const isList = (images: ImageInputs): images is readonly ImageInput[] => Array.isArray(images);

async function rawOf(image: ImageInput, { read, sharp }: Reader): Promise<RawImage> {
  if (typeof image === 'string' || image instanceof URL) return decodeImage(await read(image), sharp);
  if (image instanceof Blob || image instanceof Uint8Array) return decodeImage(image, sharp);
  if (typeof image === 'object' && image !== null && 'data' in image) return image;
  throw new ConfigError({
    path: 'image',
    problem: 'not an image',
    expected: '{ width, height, data }, the bytes of a file, or its address',
    got: describe(image),
  });
}

/** `pixels` of images, as the checkpoint wants them. */
export async function pixelsOf(images: ImageInputs, reader: Reader): Promise<Tensor> {
  const all = isList(images) ? images : [images];
  return reader.imageProcessor.process(await Promise.all(all.map((image) => rawOf(image, reader))));
}

/** The results of a call: of one image the only one, of a list all. */
export const asGiven = <T>(images: ImageInputs, results: readonly T[]): T | readonly T[] =>
  isList(images) ? results : results[0]!;
