import { readFileSync } from 'node:fs';
import { parseSafetensors } from '@onnxformers/core';
import { afterEach, describe, expect, it, vi } from 'vitest';
import wavefile from 'wavefile';
import { audioProcessor } from './audio-processor';
import { decodeAudio } from './decode';
import { powerSpectrum } from './power-spectrum';
import { audioPreprocessing } from './preprocessing';

/** Recorded with transformers, in float64. */
interface Recorded {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly features: string;
}
const fixture = (name: string) => readFileSync(new URL(`../../fixtures/${name}`, import.meta.url));
const { cases } = JSON.parse(fixture('audio.json').toString()) as { readonly cases: readonly Recorded[] };
const [first] = cases as readonly [Recorded];
const tensors = parseSafetensors(fixture('audio.safetensors'));
const numbers = async (name: string) => Float32Array.from((await tensors.get(name)!.load()).data as Float32Array);
const sound = await numbers('sound');
const processorOf = (config: unknown) =>
  audioProcessor(new Map([['preprocessor_config.json', new TextEncoder().encode(JSON.stringify(config))]]));

describe('a sound as the model reads it', () => {
  it.each(cases.map((c) => [c.name, c] as const))('%s', async (_, { config, features }) => {
    const { dims, data } = (await processorOf(config)).process([sound, sound.map((x) => x / 3)]);
    const wanted = await numbers(features);
    expect(dims[0]).toBe(2);
    expect(dims[1]! * dims[2]!).toBe(wanted.length);
    // Both are computed in float64 and rounded to float32, at magnitudes up to 4.
    const off = wanted.map((x, i) => Math.abs(x - Number(data[i])));
    expect(Math.max(...off)).toBeLessThan(1e-6);
    expect(data.slice(wanted.length)).not.toEqual(data.slice(0, wanted.length));
  });

  it('has spectra by their definition, at any even size', () => {
    for (const size of [2, 6, 8, 20, 46]) {
      const frame = Float64Array.from({ length: size }, (_, i) => Math.sin(3 * i * i + 1));
      const power = new Float64Array(size / 2 + 1);
      powerSpectrum(size)(frame, power);
      for (const [bin, p] of power.entries()) {
        let [real, imaginary] = [0, 0];
        for (const [i, x] of frame.entries()) {
          real += x * Math.cos((2 * Math.PI * bin * i) / size);
          imaginary -= x * Math.sin((2 * Math.PI * bin * i) / size);
        }
        expect(p).toBeCloseTo(real * real + imaginary * imaginary, 9);
      }
    }
  });

  it('is refused if it is empty or too long, and in a batch of several lengths of samples', async () => {
    const frames = await processorOf(first.config);
    expect(() => frames.process([])).toThrow(/no sounds/);
    expect(() => frames.process([sound, new Float32Array()])).toThrow(/sound 1: no samples/);
    expect(() => frames.process([new Float32Array(16_001)])).toThrow(/sound 0: longer than the window.*16000 samples \(1 s/s);
    const samples = await processorOf({ feature_extractor_type: 'Wav2Vec2FeatureExtractor', do_normalize: false });
    expect(samples.process([sound]).data).toEqual(sound);
    expect(() => samples.process([sound, sound.subarray(1)])).toThrow(/sound 1: another length than sound 0/);
  });
});

describe('preprocessor_config.json', () => {
  it.each([
    ['no object', [], /not a config/],
    ['no extractor', { feature_extractor_type: undefined }, /feature_extractor_type: missing/],
    ['an unknown extractor', { feature_extractor_type: 'OtherExtractor' }, /not known; expected WhisperFeatureExtractor/],
    ['an immense window', { chunk_length: 1e9 }, /chunk_length: out of range; expected 1 to 3600/],
    ['no steps', { hop_length: 0 }, /hop_length: out of range/],
    ['an odd frame', { n_fft: 401 }, /n_fft: no length of a frame/],
    ['a frame longer than the window', { n_fft: 65_536 }, /n_fft: no length of a frame/],
    ['noise', { dither: 0.1 }, /dither: noise is not added/],
    ['a size that is no number', { feature_size: '80' }, /feature_size: wrong value/],
  ])('with %s is refused', (_, own, problem) => {
    const config = Array.isArray(own) ? own : { ...first.config, ...own };
    expect(() => audioPreprocessing(JSON.parse(JSON.stringify(config)))).toThrow(problem);
  });

  it('may keep sound in a section', () => {
    expect(audioPreprocessing({ feature_extractor: first.config })).toEqual(audioPreprocessing(first.config));
  });

  it('that is missing or damaged is told', async () => {
    await expect(audioProcessor(new Map())).rejects.toThrow(/no preprocessor_config.json/);
    const damaged = new Map([['preprocessor_config.json', new TextEncoder().encode('{"size":')]]);
    await expect(audioProcessor(damaged)).rejects.toThrow(/preprocessor_config.json: not JSON/);
  });
});

describe('decodeAudio', () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });
  const wav = (channels: number, rate: number, depth: string, samples: readonly number[] | readonly (readonly number[])[]) => {
    const file = new wavefile.WaveFile();
    file.fromScratch(channels, rate, depth, samples as never);
    return file.toBuffer();
  };

  it('has the samples of a WAV file, between -1 and 1', async () => {
    const decoded = await decodeAudio(wav(1, 16_000, '16', [0, 16_384, -32_768, 8192, -1]), 16_000);
    [0, 0.5, -1, 0.25, 0].forEach((x, i) => expect(decoded[i]).toBeCloseTo(x, 4));
    expect(decoded).toHaveLength(5);
  });

  it('has one channel at the rate that is asked for', async () => {
    const tone = (rate: number, length: number) =>
      Float32Array.from({ length }, (_, i) => Math.sin((2 * Math.PI * 200 * i) / rate));
    const left = tone(8000, 800);
    const stereo = await decodeAudio(new Blob([wav(2, 8000, '32f', [[...left], [...left.map((x) => -x / 2)]])]), 8000);
    stereo.forEach((x, i) => expect(x).toBeCloseTo(left[i]! / 4, 6));
    const faster = await decodeAudio(wav(1, 8000, '32f', [...left]), 16_000);
    expect(Math.abs(faster.length - 1600)).toBeLessThan(3);
    // The ends and the phase of the resampling filter aside, it is the same tone.
    const loudest = (x: Float32Array) => x.slice(200, -200).reduce((most, y) => Math.max(most, Math.abs(y)), 0);
    expect(loudest(faster)).toBeCloseTo(1, 1);
  });

  it('asks a browser that can', async () => {
    const decoded = { numberOfChannels: 2, getChannelData: (c: number) => Float32Array.of(c, 1) };
    const rates: number[] = [];
    vi.stubGlobal(
      'OfflineAudioContext',
      class {
        constructor(_channels: number, _length: number, rate: number) {
          rates.push(rate);
        }
        decodeAudioData = async (bytes: ArrayBuffer) => {
          if (bytes.byteLength === 1) throw new Error('unable to decode');
          return decoded;
        };
      },
    );
    expect(await decodeAudio(Uint8Array.of(1, 2), 24_000)).toEqual(Float32Array.of(0.5, 1));
    expect(rates).toEqual([24_000]);
    await expect(decodeAudio(Uint8Array.of(1), 24_000)).rejects.toThrow(/file that this browser plays, got unable to decode/);
  });

  it('tells what cannot be decoded', async () => {
    await expect(decodeAudio(new TextEncoder().encode('not a sound, but a text'), 16_000)).rejects.toThrow(/expected a WAV file/);
    await expect(decodeAudio(wav(1, 16_000, '16', []), 16_000)).rejects.toThrow(/no samples/);
  });
});
