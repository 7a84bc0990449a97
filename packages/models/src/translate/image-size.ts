// The size of the images that a model was trained on.
import type { ConfigReader } from '../config';

/** Rows and columns of pixels of an image. */
export const imageSizeOf = (config: ConfigReader): number => config.int('image_size', 224);
