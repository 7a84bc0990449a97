// Resizing images of bytes as Pillow does it, which pretrained models were trained with.

/** A raw image: bytes of pixels, row by row; the channels of a pixel are side by side. */
export interface RawImage {
  readonly width: number;
  readonly height: number;
  /** 1 (grey), 3 (red, green, blue) or 4 (with transparency, which is ignored). Default: as many as `data` has for each pixel. */
  readonly channels?: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** A kernel and how far from its centre it is not 0. */
interface Kernel {
  readonly support: number;
  at(x: number): number;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
// The slope of the cubic kernel's tails.
const a = -0.5;

const kernels = {
  lanczos: { support: 3, at: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at(x) {
      const d = Math.abs(x);
      if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
      return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
    },
  },
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  hamming: { support: 1, at: (x) => (Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0) },
} satisfies Readonly<Record<string, Kernel>>;

/** Ways of resizing, by the numbers that preprocessor files have for them. */
export const resamplings = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'] as const;
/** A way of resizing, as Pillow names it. */
export type Resampling = (typeof resamplings)[number];

/** What a resized row or column reads: from a first pixel on, with these weights. */
interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

// Weights are fractions of this number, so that sums are exact.
const one = 2 ** 22;

/** An enlarged axis interpolates, a reduced one averages over as many more pixels (antialiasing). */
function tapsOf(from: number, to: number, { support, at }: Kernel): readonly Taps[] {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support * stretch + 0.5));
    const end = Math.min(from, Math.trunc(centre + support * stretch + 0.5));
    const raw = Array.from({ length: end - first }, (_, k) => at((k + first - centre + 0.5) / stretch));
    const sum = raw.reduce((x, y) => x + y, 0);
    return { first, weights: raw.map((w) => roundAway((w / sum) * one)) };
  });
}

const roundAway = (x: number): number => Math.trunc(x < 0 ? x - 0.5 : x + 0.5);

/**
 * An image of three bytes a pixel in another size: first the width, rounded to bytes, then the height, as Pillow does it. The same bytes come out as from Pillow 12; Pillow 13
 * begins with the height in some cases, so that a byte can differ by a few units.
 */
export function resized(image: RawImage, [rows, columns]: readonly [height: number, width: number], by: Resampling): RawImage {
  const taps = (from: number, to: number): readonly Taps[] =>
    by === 'nearest' ? nearest(from, to) : tapsOf(from, to, kernels[by]);
  return inHeight(inWidth(image, taps(image.width, columns)), taps(image.height, rows));
}

function inWidth(image: RawImage, taps: readonly Taps[]): RawImage {
  const { width, height, data } = image;
  if (width === taps.length) return image;
  const all = new Uint8ClampedArray(height * taps.length * 3);
  for (const [x, { first, weights }] of taps.entries())
    for (let y = 0; y < height; y++)
      for (let c = 0; c < 3; c++) all[(y * taps.length + x) * 3 + c] = weighted(data, (y * width + first) * 3 + c, 3, weights);
  return { width: taps.length, height, channels: 3, data: all };
}

function inHeight(image: RawImage, taps: readonly Taps[]): RawImage {
  const { width, height, data } = image;
  if (height === taps.length) return image;
  const stride = width * 3;
  const all = new Uint8ClampedArray(taps.length * stride);
  for (const [y, { first, weights }] of taps.entries())
    for (let i = 0; i < stride; i++) all[y * stride + i] = weighted(data, first * stride + i, stride, weights);
  return { width, height: taps.length, channels: 3, data: all };
}

/** The pixel under the centre of each; the step is added up, as Pillow does it, which decides where a centre is on a border. */
function nearest(from: number, to: number): readonly Taps[] {
  const step = from / to;
  let centre = step / 2;
  return Array.from({ length: to }, () => {
    const first = Math.trunc(centre);
    centre += step;
    return { first, weights: [one] };
  });
}

/** A byte: a clamped array limits it. */
function weighted(data: ArrayLike<number>, start: number, stride: number, weights: readonly number[]): number {
  let sum = one / 2;
  for (let k = 0; k < weights.length; k++) sum += data[start + k * stride]! * weights[k]!;
  return Math.floor(sum / one);
}
