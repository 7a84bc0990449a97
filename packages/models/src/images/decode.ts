// Files of images as pixels, decoded by the browser or by a library for it.
import { FileError } from '@onnxformers/core';
import type { RawImage } from './resample';

/** What is used of the library sharp: `import sharp from 'sharp'`. */
export type Sharp = (bytes: Uint8Array) => {
  /** Converts colours. */
  toColourspace(space: string): {
    /** Asks for pixels instead of a file format. */
    raw(): {
      /** The pixels, row by row. */
      toBuffer(o: { readonly resolveWithObject: true }): Promise<{
        readonly data: Uint8Array;
        readonly info: { readonly width: number; readonly height: number; readonly channels: number };
      }>;
    };
  };
};

/** What is used of a browser; Node.js has no types for it. */
interface Platform {
  readonly createImageBitmap?: (
    blob: Blob,
    o: Readonly<Record<string, string>>,
  ) => Promise<{ readonly width: number; readonly height: number; close(): void }>;
  readonly OffscreenCanvas?: new (
    width: number,
    height: number,
  ) => {
    getContext(kind: '2d'): {
      drawImage(image: unknown, x: number, y: number): void;
      getImageData(x: number, y: number, width: number, height: number): { readonly data: Uint8ClampedArray };
    } | null;
  };
}

/**
 * Decodes a file (PNG, JPEG, WebP, …). In a browser or a worker the platform decodes it. In Node.js give the library sharp.
 *
 * Throws   FileError for a file that cannot be decoded, and in Node.js without a library
 *
 * Example  const image = await decodeImage(await (await fetch('cat.jpg')).blob());
 */
export async function decodeImage(source: Blob | Uint8Array, sharp?: Sharp): Promise<RawImage> {
  const platform = globalThis as Platform;
  if (!sharp && !(platform.createImageBitmap && platform.OffscreenCanvas))
    throw new FileError({
      path: 'decodeImage',
      problem: 'this runtime does not decode images',
      expected: "a library: import sharp from 'sharp'; decodeImage(bytes, sharp)",
      got: 'none',
    });
  try {
    return sharp ? await bySharp(source, sharp) : await byPlatform(source, platform as Required<Platform>);
  } catch (cause) {
    throw new FileError(
      {
        path: 'decodeImage',
        problem: 'not an image that can be decoded',
        got: cause instanceof Error ? cause.message : String(cause),
      },
      { cause },
    );
  }
}

async function bySharp(source: Blob | Uint8Array, sharp: Sharp): Promise<RawImage> {
  const bytes = source instanceof Uint8Array ? source : new Uint8Array(await source.arrayBuffer());
  const { data, info } = await sharp(bytes).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: info.channels, data };
}

async function byPlatform(
  source: Blob | Uint8Array,
  { createImageBitmap, OffscreenCanvas }: Required<Platform>,
): Promise<RawImage> {
  const blob = source instanceof Uint8Array ? new Blob([source as Uint8Array<ArrayBuffer>]) : source;
  // As libraries for Python read files: colours as they are stored, no rotation.
  const asStored = { premultiplyAlpha: 'none', colorSpaceConversion: 'none', imageOrientation: 'none' };
  const bitmap = await createImageBitmap(blob, asStored);
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d');
  if (!context) throw new Error('the platform has no 2d context');
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
}
