// The power spectrum of a frame of any even length.
import FFT from 'fft.js';

/** Writes the squared magnitudes of the bins from 0 to half the sampling rate. */
export type PowerSpectrum = (frame: Float64Array, power: Float64Array) => void;

/**
 * Spectra of frames of `size` samples, an even number. fft.js transforms sizes that are powers of 2. Other sizes are divided: with size = parts · length, where
 * length is the largest power of 2, every parts-th sample makes one short frame, and a bin is the sum of their bins, each turned by its delay.
 */
export function powerSpectrum(size: number): PowerSpectrum {
  const length = size & -size;
  const parts = size / length;
  const fft = new FFT(length);
  const short = new Array<number>(length).fill(0);
  const spectra = Array.from({ length: parts }, () => fft.createComplexArray());
  const cosines = Float64Array.from({ length: size }, (_, i) => Math.cos((2 * Math.PI * i) / size));
  const sines = Float64Array.from({ length: size }, (_, i) => Math.sin((2 * Math.PI * i) / size));
  return (frame, power) => {
    for (const [part, spectrum] of spectra.entries()) {
      for (let i = 0; i < length; i++) short[i] = frame[i * parts + part]!;
      fft.realTransform(spectrum, short);
      fft.completeSpectrum(spectrum);
    }
    for (let bin = 0; bin <= size / 2; bin++) {
      const at = 2 * (bin % length);
      let [real, imaginary] = [0, 0];
      for (let part = 0; part < parts; part++) {
        const [a, b] = [spectra[part]![at]!, spectra[part]![at + 1]!];
        const turn = (part * bin) % size;
        real += a * cosines[turn]! + b * sines[turn]!;
        imaginary += b * cosines[turn]! - a * sines[turn]!;
      }
      power[bin] = real * real + imaginary * imaginary;
    }
  };
}
