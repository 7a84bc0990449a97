// What preprocessor_config.json says about images.
import { ConfigError, describe } from '@onnxformers/core';
import { type ConfigReader, configReader } from '../config';
import { type Resampling, resamplings } from './resample';

/** How large an image becomes: a size, or the length of its shorter side with a limit of the longer one. */
export type ImageSize =
  | { readonly height: number; readonly width: number }
  | { readonly shortestEdge: number; readonly longestEdge?: number };

/** The steps from an image to the model's input, in their order; a step that is absent is left out. */
export interface ImagePreprocessing {
  readonly resize?: { readonly size: ImageSize; readonly resampling: Resampling };
  readonly centerCrop?: { readonly height: number; readonly width: number };
  /** Factor of the bytes. */
  readonly rescale?: number;
  /** Subtracted from and divided by, for each channel. */
  readonly normalize?: { readonly mean: readonly number[]; readonly std: readonly number[] };
}

/** Steps that no family of ours has. */
const unsupported = [
  'do_align_long_axis',
  'do_flip_channel_order',
  'do_flip_channels',
  'do_image_splitting',
  'do_pad',
  'do_thumbnail',
  'crop_pct',
  'rescale_offset',
  'size_divisor',
];

/** Processors whose size, if it is a single number, is that of the shorter side. */
const byShortestEdge = /^(ChineseCLIP|CLIP|Bit)(ImageProcessor|FeatureExtractor)/;

// A larger side is a mistake: its image would take gigabytes.
const largest = 16_384;

/**
 * The preprocessing of images that a parsed `preprocessor_config.json` describes.
 *
 * Throws   ConfigError for a missing or wrong value, and for a step that is not supported
 */
export function imagePreprocessing(json: unknown, path = 'preprocessor_config.json'): ImagePreprocessing {
  const whole = configReader(json, path);
  // Newer processors of several modalities keep their images' part in a section.
  const config = whole.section('image_processor') ?? whole;
  for (const key of unsupported)
    if (config.has(key) && config.raw[key] !== false)
      throw config.refuse(key, 'a step that is not supported', 'false, or no such key');
  const crop = config.flag('do_center_crop', config.has('crop_size'));
  return {
    ...(config.flag('do_resize', true) && { resize: { size: sizeOf(config), resampling: resamplingOf(config) } }),
    ...(crop && { centerCrop: cropOf(config) }),
    ...(config.flag('do_rescale', true) && { rescale: config.num('rescale_factor', 1 / 255) }),
    ...(config.flag('do_normalize', true) && { normalize: { mean: channels(config, 'image_mean'), std: deviations(config) } }),
  };
}

function resamplingOf(config: ConfigReader): Resampling {
  const found = resamplings[config.int('resample')];
  if (found) return found;
  throw config.refuse('resample', 'unknown', resamplings.map((name, i) => `${i} (${name})`).join(', '));
}

function sizeOf(config: ConfigReader): ImageSize {
  if (typeof config.raw.size === 'number') {
    const side = pixels(config, 'size');
    const type = String(config.raw.image_processor_type ?? config.raw.feature_extractor_type ?? '');
    return byShortestEdge.test(type) ? { shortestEdge: side } : { height: side, width: side };
  }
  const size = config.needed('size');
  if (size.has('height') || size.has('width')) return { height: pixels(size, 'height'), width: pixels(size, 'width') };
  return {
    shortestEdge: pixels(size, 'shortest_edge'),
    ...(size.has('longest_edge') && { longestEdge: pixels(size, 'longest_edge') }),
  };
}

function cropOf(config: ConfigReader): { readonly height: number; readonly width: number } {
  if (typeof config.raw.crop_size !== 'number') {
    const size = config.needed('crop_size');
    return { height: pixels(size, 'height'), width: pixels(size, 'width') };
  }
  const side = pixels(config, 'crop_size');
  return { height: side, width: side };
}

function pixels(config: ConfigReader, key: string): number {
  const n = config.int(key);
  if (n >= 1 && n <= largest) return n;
  throw config.refuse(key, 'no size of an image', `1 to ${largest} pixels`);
}

function channels(config: ConfigReader, key: string): readonly number[] {
  const found = config.list(key);
  if (found?.length === 3 && found.every((x) => typeof x === 'number' && Number.isFinite(x))) return found as readonly number[];
  throw new ConfigError({
    path: `${config.path}: ${key}`,
    problem: found ? 'wrong value' : 'missing',
    expected: 'three numbers, for red, green and blue',
    got: found ? describe(found) : 'nothing',
  });
}

function deviations(config: ConfigReader): readonly number[] {
  const std = channels(config, 'image_std');
  if (std.every((x) => x !== 0)) return std;
  throw config.refuse('image_std', 'it divides by 0', 'three numbers other than 0');
}
