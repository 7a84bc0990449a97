import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeImage } from './decode';
import { imageProcessor } from './image-processor';
import { imagePreprocessing } from './preprocessing';
import { resized } from './resample';

/** Recorded with transformers and Pillow. */
interface Recorded {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly image: { readonly width: number; readonly height: number; readonly data: readonly number[] };
  readonly dims: readonly number[];
  readonly pixel_values: readonly number[];
}
const recorded = JSON.parse(readFileSync(new URL('../../fixtures/images.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly Recorded[];
};
const processorOf = (config: unknown) =>
  imageProcessor(new Map([['preprocessor_config.json', new TextEncoder().encode(JSON.stringify(config))]]));
const imageOf = ({ width, height, data }: Recorded['image']) => ({ width, height, data: Uint8Array.from(data) });
const [first] = recorded.cases as readonly [Recorded];

describe('an image as the model reads it', () => {
  it.each(recorded.cases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    const { dims, data } = (await processorOf(c.config)).process([imageOf(c.image)]);
    expect(dims).toEqual([1, ...c.dims]);
    // Recorded to six decimals; a byte that differs would be 0.004 or more.
    const off = c.pixel_values.map((x, i) => Math.abs(x - Number(data[i])));
    expect(Math.max(...off)).toBeLessThan(2e-6);
  });

  it('is the same from a grey image as from its three equal channels, and ignores transparency', async () => {
    const { process } = await processorOf(first.config);
    const { width, height, data } = imageOf(first.image);
    const grey = data.filter((_, i) => i % 3 === 1);
    const of = (n: number, f: (pixel: number, c: number) => number) =>
      process([
        { width, height, channels: n, data: Uint8Array.from({ length: grey.length * n }, (_, i) => f(Math.floor(i / n), i % n)) },
      ]);
    expect(of(1, (p) => grey[p]!).data).toEqual(of(3, (p) => grey[p]!).data);
    expect(of(4, (p, c) => (c === 3 ? p % 251 : data[p * 3 + c]!)).data).toEqual(process([{ width, height, data }]).data);
  });

  it('has the size that a longest edge limits', () => {
    const limited = imagePreprocessing({ ...first.config, size: { shortest_edge: 8, longest_edge: 9 } });
    expect(limited.resize?.size).toEqual({ shortestEdge: 8, longestEdge: 9 });
  });

  it('keeps a uniform image uniform, whatever the sizes', () => {
    for (const by of ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'] as const)
      for (const [height, width] of [
        [1, 1],
        [3, 29],
        [31, 2],
      ] as const) {
        const y = resized({ width: 7, height: 11, data: new Uint8Array(7 * 11 * 3).fill(203) }, [height, width], by);
        expect(new Set(y.data)).toEqual(new Set([203]));
        expect(y.data.length).toBe(height * width * 3);
      }
  });

  it('is refused if its data do not fit, and in a batch of several sizes', async () => {
    const { process } = await processorOf({ ...first.config, do_resize: false });
    const image = (width: number, height: number) => ({ width, height, data: new Uint8Array(width * height * 3) });
    expect(process([image(2, 3), image(2, 3)]).dims).toEqual([2, 3, 3, 2]);
    expect(() => process([image(2, 3), image(3, 2)])).toThrow(/image 1: another size than image 0; expected 3 × 2/);
    expect(() => process([])).toThrow(/no images/);
    expect(() => process([{ ...image(2, 3), channels: 4 }])).toThrow(
      /image 0: the data do not fit.*18 bytes for 3 × 2 pixels of 4/,
    );
    expect(() => process([{ ...image(2, 3), width: 0 }])).toThrow(/do not fit/);
  });
});

describe('preprocessor_config.json', () => {
  it.each([
    ['no object', [], /not a config/],
    ['a size without numbers', { size: { height: '224', width: 224 } }, /size: height: wrong value/],
    ['no size', { size: undefined }, /size: missing/],
    ['a size of nothing', { size: { shortest_edge: 0 } }, /shortest_edge: no size of an image; expected 1 to 16384/],
    ['an immense size', { size: 1e9 }, /size: no size of an image/],
    ['an unknown resampling', { resample: 9 }, /resample: unknown; expected 0 \(nearest\), 1 \(lanczos\)/],
    ['no resampling', { resample: null }, /resample: missing/],
    ['a mean of one channel', { image_mean: [0.5] }, /image_mean: wrong value; expected three numbers/],
    ['no deviation', { image_std: null }, /image_std: missing/],
    ['a deviation of 0', { image_std: [1, 0, 1] }, /image_std: it divides by 0/],
    ['a flag that is not a flag', { do_resize: 'yes' }, /do_resize: wrong value; expected true or false/],
    ['a crop without a size', { do_center_crop: true }, /crop_size: missing/],
    ['a step that is not supported', { do_pad: true }, /do_pad: a step that is not supported/],
  ])('with %s is refused', (_, own, problem) => {
    const config = Array.isArray(own) ? own : { ...first.config, ...own };
    expect(() => imagePreprocessing(JSON.parse(JSON.stringify(config)))).toThrow(problem);
  });

  it('has one number for a square, or in some families for the shorter side', () => {
    const size = (type: string) => imagePreprocessing({ ...first.config, size: 9, image_processor_type: type }).resize?.size;
    expect(size('ViTImageProcessor')).toEqual({ height: 9, width: 9 });
    expect(size('CLIPImageProcessor')).toEqual({ shortestEdge: 9 });
    expect(imagePreprocessing({ ...first.config, crop_size: 5 }).centerCrop).toEqual({ height: 5, width: 5 });
  });

  it('that is missing or damaged is told', async () => {
    await expect(imageProcessor(new Map())).rejects.toThrow(/no preprocessor_config.json/);
    const damaged = new Map([['preprocessor_config.json', new TextEncoder().encode('{"size":')]]);
    await expect(imageProcessor(damaged)).rejects.toThrow(/preprocessor_config.json: not JSON/);
  });
});

describe('decodeImage', () => {
  const decoded = { data: Uint8Array.of(1, 2, 3, 4), info: { width: 1, height: 1, channels: 4 } };
  const sharp = (result: () => Promise<typeof decoded>) => () => ({
    toColourspace: () => ({ raw: () => ({ toBuffer: result }) }),
  });
  it('has the pixels of the library', async () => {
    const image = await decodeImage(
      new Blob([Uint8Array.of(9)]),
      sharp(async () => decoded),
    );
    expect(image).toEqual({ width: 1, height: 1, channels: 4, data: decoded.data });
  });
  it('tells what cannot be decoded, and that a library is missing', async () => {
    const failing = sharp(async () => {
      throw new Error('unsupported format');
    });
    await expect(decodeImage(Uint8Array.of(1), failing)).rejects.toThrow(
      /not an image that can be decoded; got unsupported format/,
    );
    await expect(decodeImage(Uint8Array.of(1))).rejects.toThrow(/import sharp from 'sharp'/);
  });
});
