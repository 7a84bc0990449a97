// Triangular filters on the mel scale. Slaney 1998, Auditory Toolbox, Interval Research Corporation, TR 1998-010.

/** Filters of a spectrum. */
export interface MelOptions {
  /** Number of filters. */
  readonly bands: number;
  /** Samples in a second (Hz). */
  readonly samplingRate: number;
  /** Bins of the spectrum, from 0 to half the sampling rate. */
  readonly bins: number;
  /** Where the last filter ends (Hz). */
  readonly maxFrequency: number;
}

/** One filter: the weights of the bins from `first` on. */
export interface MelFilter {
  readonly first: number;
  readonly weights: Float64Array;
}

// The scale is linear up to 1000 Hz, at 15 mel, and logarithmic beyond.
const [linearStep, logStart, logStartMel] = [200 / 3, 1000, 15];
const logStep = Math.log(6.4) / 27;

const toMel = (hertz: number): number =>
  hertz < logStart ? hertz / linearStep : logStartMel + Math.log(hertz / logStart) / logStep;
const toHertz = (mel: number): number =>
  mel < logStartMel ? mel * linearStep : logStart * Math.exp((mel - logStartMel) * logStep);

/** Filters whose corners are equally spaced in mel; each triangle has an area of 1 (per Hz). */
export function melFilters({ bands, samplingRate, bins, maxFrequency }: MelOptions): readonly MelFilter[] {
  const top = toMel(maxFrequency);
  const corners = Array.from({ length: bands + 2 }, (_, i) => toHertz((top * i) / (bands + 1)));
  const width = Math.floor(samplingRate / 2) / (bins - 1);
  return Array.from({ length: bands }, (_, band) => {
    const [from, middle, to] = corners.slice(band, band + 3) as [number, number, number];
    const height = 2 / (to - from);
    const weights = Array.from({ length: bins }, (_, bin) => {
      const rising = (bin * width - from) / (middle - from);
      const falling = (to - bin * width) / (to - middle);
      return height * Math.max(0, Math.min(rising, falling));
    });
    const first = Math.max(
      0,
      weights.findIndex((weight) => weight > 0),
    );
    const last = weights.findLastIndex((weight) => weight > 0);
    return { first, weights: Float64Array.from(weights.slice(first, last + 1)) };
  });
}
