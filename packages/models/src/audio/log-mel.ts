// Log-mel frames, as Whisper reads sound. Radford et al. 2022, https://arxiv.org/abs/2212.04356
import { melFilters } from './mel-filters';
import { powerSpectrum } from './power-spectrum';

/** How frames are made. */
export interface LogMelOptions {
  /** Samples in a second (Hz). */
  readonly samplingRate: number;
  /** Samples of a frame, an even number. */
  readonly frameLength: number;
  /** Samples between the beginnings of two frames. */
  readonly hopLength: number;
  /** Filters of a frame. */
  readonly bands: number;
  /** Samples that are read: shorter sounds are padded, longer ones refused. */
  readonly length: number;
  /** Samples that pad a sound at its end. */
  readonly paddingValue: number;
}

/** The filters end here, whatever the sampling rate (Hz). */
const maxFrequency = 8000;
/** Powers below it count as silence. */
const floor = 1e-10;
/** Frames are kept within so many powers of 10 below the loudest. */
const range = 8;

/** Turns exactly `length` samples into [frames, bands]. */
export function logMel(o: LogMelOptions): (samples: Float32Array) => Float32Array {
  const { frameLength: size, hopLength, bands, length } = o;
  const frames = Math.floor(length / hopLength);
  const bins = size / 2 + 1;
  const filters = melFilters({ bands, bins, samplingRate: o.samplingRate, maxFrequency });
  const spectrum = powerSpectrum(size);
  // A Hann window whose period is the frame.
  const window = Float64Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
  return (samples) => {
    const [frame, power, out] = [new Float64Array(size), new Float64Array(bins), new Float32Array(frames * bands)];
    let loudest = Number.NEGATIVE_INFINITY;
    for (let t = 0; t < frames; t++) {
      // A frame is centred at its time; beyond the ends the sound is mirrored.
      const from = t * hopLength - size / 2;
      for (let i = 0; i < size; i++) frame[i] = samples[mirrored(from + i, length)]! * window[i]!;
      spectrum(frame, power);
      for (const [band, { first, weights }] of filters.entries()) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i]! * power[first + i]!;
        const level = Math.log10(Math.max(sum, floor));
        out[t * bands + band] = level;
        if (level > loudest) loudest = level;
      }
    }
    return out.map((level) => (Math.max(level, loudest - range) + 4) / 4);
  };
}

/** The index inside, mirrored at the first and the last sample. */
const mirrored = (i: number, length: number): number => (i < 0 ? -i : i >= length ? 2 * (length - 1) - i : i);
