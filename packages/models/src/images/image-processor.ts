// Images as the input of a pretrained model.
import { checkArguments, FileError, ShapeError, type Tensor } from '@onnxformers/core';
import { parseJson } from '../config';
import { type FilesByName, filesInMemory, type PretrainedFiles, readFile } from '../files';
import { type ImagePreprocessing, type ImageSize, imagePreprocessing } from './preprocessing';
import { type RawImage, resized } from './resample';

/** Makes the model's input from images. */
export interface ImageProcessor {
  /** What `preprocessor_config.json` says. */
  readonly preprocessing: ImagePreprocessing;
  /**
   * `pixels` float32 [images, 3, height, width]: resized, cropped, rescaled and normalised.
   *
   * Throws   ShapeError for no image, data that do not fit their size, and images that differ in size after these steps
   */
  process(images: readonly RawImage[]): Tensor;
}

const file = 'preprocessor_config.json';

/**
 * The preprocessing of images of a checkpoint, by its `preprocessor_config.json`: resizing as Pillow does it (bilinear, bicubic and others, with antialiasing), a crop of the
 * centre, rescaling and normalisation. Decode files with `decodeImage` first.
 *
 * Throws   FileError without the file · ConfigError for a damaged file, a missing or wrong value, and a step that is not supported
 *
 * Example  const images = await imageProcessor(filesAt('https://example.org/vit/'));
 *            const pixels = images.process([{ width: 2, height: 1, data: Uint8Array.of(255, 0, 0, 0, 255, 0) }]);
 */
export async function imageProcessor(files: PretrainedFiles | FilesByName): Promise<ImageProcessor> {
  checkArguments('imageProcessor', { files });
  const source = 'open' in files ? files : filesInMemory(files);
  const bytes = await readFile(source, file);
  if (!bytes) throw new FileError({ path: source.name, problem: `no ${file}`, expected: 'a checkpoint of a model for images' });
  const preprocessing = imagePreprocessing(parseJson(bytes, file), file);
  return { preprocessing, process: (images) => batchOf(images, preprocessing) };
}

function batchOf(images: readonly RawImage[], o: ImagePreprocessing): Tensor {
  const all = images.map((image, i) => prepared(image, o, `image ${i}`));
  const [first] = all;
  if (!first) throw new ShapeError({ path: 'images', problem: 'no images', expected: 'one or more', got: '0' });
  const { width, height } = first;
  const other = all.findIndex((image) => image.width !== width || image.height !== height);
  if (other >= 0)
    throw new ShapeError({
      path: `image ${other}`,
      problem: 'another size than image 0',
      expected: `${height} × ${width} pixels`,
      got: `${all[other]!.height} × ${all[other]!.width}`,
      hint: 'Process images of different sizes one by one',
    });
  const size = 3 * height * width;
  const data = new Float32Array(all.length * size);
  for (const [i, image] of all.entries()) writeNumbers(image, o, data.subarray(i * size, (i + 1) * size));
  return { dtype: 'float32', dims: [all.length, 3, height, width], data };
}

function prepared(image: RawImage, { resize, centerCrop }: ImagePreprocessing, path: string): RawImage {
  const rgb = inColour(image, path);
  const sized = resize ? resized(rgb, targetOf(rgb, resize.size), resize.resampling) : rgb;
  return centerCrop ? cropped(sized, centerCrop) : sized;
}

/** Three channels: grey is repeated, transparency left out. */
function inColour({ width, height, channels, data }: RawImage, path: string): RawImage {
  const cells = width * height;
  const n = channels ?? data.length / cells;
  if (![width, height].every((x) => Number.isSafeInteger(x) && x > 0) || ![1, 3, 4].includes(n) || data.length !== cells * n)
    throw new ShapeError({
      path,
      problem: 'the data do not fit the size',
      expected: `width · height · channels bytes, with 1, 3 or 4 channels`,
      got: `${data.length} bytes for ${height} × ${width} pixels${channels === undefined ? '' : ` of ${channels} channels`}`,
    });
  if (n === 3) return { width, height, channels: 3, data };
  const rgb = new Uint8ClampedArray(cells * 3);
  for (let i = 0; i < cells; i++) for (let c = 0; c < 3; c++) rgb[i * 3 + c] = data[i * n + (n === 1 ? 0 : c)]!;
  return { width, height, channels: 3, data: rgb };
}

/** [height, width]; the longer side is rounded down. */
function targetOf({ width, height }: RawImage, size: ImageSize): readonly [number, number] {
  if ('height' in size) return [size.height, size.width];
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const { shortestEdge, longestEdge } = size;
  let [newShort, newLong] = [shortestEdge, Math.trunc((shortestEdge * long) / short)];
  if (longestEdge !== undefined && newLong > longestEdge)
    [newShort, newLong] = [Math.max(1, Math.trunc((longestEdge * newShort) / newLong)), longestEdge];
  return width <= height ? [newLong, newShort] : [newShort, newLong];
}

/** The centre; beyond the image is black. */
function cropped({ width, height, data }: RawImage, to: { readonly height: number; readonly width: number }): RawImage {
  const [top, left] = [Math.floor((height - to.height) / 2), Math.floor((width - to.width) / 2)];
  const all = new Uint8ClampedArray(to.height * to.width * 3);
  for (let y = Math.max(0, -top); y < to.height && y + top < height; y++)
    for (let x = Math.max(0, -left); x < to.width && x + left < width; x++) {
      const from = ((y + top) * width + x + left) * 3;
      all.set(data.subarray(from, from + 3), (y * to.width + x) * 3);
    }
  return { width: to.width, height: to.height, channels: 3, data: all };
}

function writeNumbers({ width, height, data }: RawImage, { rescale, normalize }: ImagePreprocessing, out: Float32Array): void {
  const cells = width * height;
  for (let c = 0; c < 3; c++) {
    const [mean, std] = normalize ? [normalize.mean[c]!, normalize.std[c]!] : [0, 1];
    for (let i = 0; i < cells; i++) out[c * cells + i] = (data[i * 3 + c]! * (rescale ?? 1) - mean) / std;
  }
}
