// What preprocessor_config.json says about sound.
import { type ConfigReader, configReader } from '../config';
import type { LogMelOptions } from './log-mel';

/** What a model reads of a sound. */
export interface AudioPreprocessing {
  /** Samples in a second (Hz). */
  readonly samplingRate: number;
  /** Log-mel frames of a window of fixed length; absent: the model reads the samples. */
  readonly logMel?: LogMelOptions;
  /** Whether samples are shifted and scaled to a mean of 0 and a variance of 1. */
  readonly normalize: boolean;
}

/** Extractors of features by their names. */
const extractors: Readonly<Record<string, (config: ConfigReader) => AudioPreprocessing>> = {
  WhisperFeatureExtractor: whisper,
  Wav2Vec2FeatureExtractor: samples,
};

// Larger numbers are mistakes: they would fill the memory.
const limits = { sampling_rate: 1_000_000, n_fft: 65_536, hop_length: 65_536, feature_size: 4096, chunk_length: 3600 } as const;

function positive(config: ConfigReader, key: keyof typeof limits, otherwise?: number): number {
  const n = config.int(key, otherwise);
  if (n >= 1 && n <= limits[key]) return n;
  throw config.refuse(key, 'out of range', `1 to ${limits[key]}`);
}

/**
 * The preprocessing of sound that a parsed `preprocessor_config.json` describes.
 *
 * Throws   ConfigError for an extractor that is not known, and for a missing or wrong value
 */
export function audioPreprocessing(json: unknown, path = 'preprocessor_config.json'): AudioPreprocessing {
  const whole = configReader(json, path);
  // Newer processors of several modalities keep the part of sound in a section.
  const config = whole.section('feature_extractor') ?? whole;
  const type = config.text('feature_extractor_type');
  if (Object.hasOwn(extractors, type)) return extractors[type]!(config);
  throw config.refuse('feature_extractor_type', 'an extractor that is not known', Object.keys(extractors).join(', '));
}

function whisper(config: ConfigReader): AudioPreprocessing {
  const samplingRate = positive(config, 'sampling_rate', 16_000);
  const frameLength = positive(config, 'n_fft', 400);
  const hopLength = positive(config, 'hop_length', 160);
  const length = positive(config, 'chunk_length', 30) * samplingRate;
  if (frameLength % 2 || frameLength / 2 >= length)
    throw config.refuse('n_fft', 'no length of a frame', 'an even number within the window');
  if (config.has('dither') && config.num('dither') !== 0) throw config.refuse('dither', 'noise is not added', '0');
  return {
    samplingRate,
    logMel: {
      samplingRate,
      frameLength,
      hopLength,
      bands: positive(config, 'feature_size', 80),
      length,
      paddingValue: config.num('padding_value', 0),
    },
    normalize: false,
  };
}

function samples(config: ConfigReader): AudioPreprocessing {
  if (config.int('feature_size', 1) !== 1) throw config.refuse('feature_size', 'several channels', '1');
  return {
    samplingRate: positive(config, 'sampling_rate', 16_000),
    normalize: config.flag('do_normalize', true),
  };
}
