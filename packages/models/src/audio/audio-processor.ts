// Sounds as the input of a pretrained model.
import { checkArguments, FileError, ShapeError, type Tensor } from '@onnxformers/core';
import { parseJson } from '../config';
import { type FilesByName, filesInMemory, type PretrainedFiles, readFile } from '../files';
import { type LogMelOptions, logMel } from './log-mel';
import { type AudioPreprocessing, audioPreprocessing } from './preprocessing';

/** Makes the model's input from sounds. */
export interface AudioProcessor {
  /** What `preprocessor_config.json` says. */
  readonly preprocessing: AudioPreprocessing;
  /**
   * `features` float32 of sounds of one channel at the sampling rate: log-mel frames [sounds, frames, bands] of a window of fixed length, or samples
   * [sounds, samples, 1].
   *
   * Throws   ShapeError for no sound, a sound without samples or longer than the window, and sounds that differ in length where a model reads samples
   */
  process(sounds: readonly Float32Array[]): Tensor;
}

const file = 'preprocessor_config.json';

/**
 * The preprocessing of sound of a checkpoint, by its `preprocessor_config.json`: log-mel frames as Whisper reads them (Hann windows, filters on Slaney's mel scale,
 * logarithms within 8 powers of 10), or samples, normalized or as they are. Decode files with `decodeAudio` first.
 *
 * Throws   FileError without the file · ConfigError for a damaged file, a missing or wrong value, and an extractor that is not known
 *
 * Example  const sounds = await audioProcessor(filesAt('https://example.org/whisper/'));
 *            const features = sounds.process([new Float32Array(16_000)]);
 */
export async function audioProcessor(files: PretrainedFiles | FilesByName): Promise<AudioProcessor> {
  checkArguments('audioProcessor', { files });
  const source = 'open' in files ? files : filesInMemory(files);
  const bytes = await readFile(source, file);
  if (!bytes) throw new FileError({ path: source.name, problem: `no ${file}`, expected: 'a checkpoint of a model for sound' });
  const preprocessing = audioPreprocessing(parseJson(bytes, file), file);
  const toFeatures = preprocessing.logMel ? framesWith(preprocessing.logMel) : samplesWith(preprocessing);
  return {
    preprocessing,
    process(sounds) {
      if (!sounds.length) throw new ShapeError({ path: 'sounds', problem: 'no sounds', expected: 'one or more', got: '0' });
      for (const [i, { length }] of sounds.entries())
        if (!length) throw new ShapeError({ path: `sound ${i}`, problem: 'no samples', expected: 'one or more', got: '0' });
      return toFeatures(sounds);
    },
  };
}

type ToFeatures = (sounds: readonly Float32Array[]) => Tensor;

function framesWith(o: LogMelOptions): ToFeatures {
  const { length, bands, samplingRate, paddingValue } = o;
  const frames = logMel(o);
  return (sounds) => {
    const made = sounds.map((sound, i) => {
      if (sound.length > length)
        throw new ShapeError({
          path: `sound ${i}`,
          problem: 'longer than the window of the model',
          expected: `at most ${length} samples (${length / samplingRate} s at ${samplingRate} Hz)`,
          got: String(sound.length),
          hint: 'Divide it into pieces',
        });
      const padded = new Float32Array(length).fill(paddingValue);
      padded.set(sound);
      return frames(padded);
    });
    return joined(made, [made[0]!.length / bands, bands]);
  };
}

function samplesWith({ normalize }: AudioPreprocessing): ToFeatures {
  return (sounds) => {
    const { length } = sounds[0]!;
    const other = sounds.findIndex((sound) => sound.length !== length);
    if (other >= 0)
      throw new ShapeError({
        path: `sound ${other}`,
        problem: 'another length than sound 0',
        expected: `${length} samples`,
        got: String(sounds[other]!.length),
        hint: 'Process sounds of different lengths one by one',
      });
    return joined(normalize ? sounds.map(normalized) : sounds, [length, 1]);
  };
}

function joined(rows: readonly Float32Array[], dims: readonly [number, number]): Tensor {
  const data = new Float32Array(rows.length * dims[0] * dims[1]);
  for (const [i, row] of rows.entries()) data.set(row, i * row.length);
  return { dtype: 'float32', dims: [rows.length, ...dims], data };
}

/** With a mean of 0 and a variance of 1; a constant sound becomes 0. */
function normalized(sound: Float32Array): Float32Array {
  const mean = sound.reduce((sum, x) => sum + x, 0) / sound.length;
  const variance = sound.reduce((sum, x) => sum + (x - mean) ** 2, 0) / sound.length;
  return sound.map((x) => (x - mean) / Math.sqrt(variance + 1e-7));
}
