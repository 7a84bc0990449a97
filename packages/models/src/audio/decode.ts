// Files of sound as samples, decoded by the browser or by the library wavefile.
import { ConfigError, describe, FileError } from '@onnxformers/core';

/** What is used of a browser; Node.js has no types for it. */
interface Platform {
  readonly OfflineAudioContext?: new (
    channels: number,
    length: number,
    samplingRate: number,
  ) => {
    decodeAudioData(
      bytes: ArrayBuffer,
    ): Promise<{ readonly numberOfChannels: number; getChannelData(channel: number): Float32Array }>;
  };
}

/**
 * Decodes a file to samples of one channel, the mean of all channels, at a sampling rate (Hz). A browser decodes all formats that it plays (WAV, MP3, FLAC, Ogg, …);
 * Node.js and workers decode WAV, with the library wavefile.
 *
 * Throws   FileError for a file that cannot be decoded · ConfigError for a rate that is no positive number
 *
 * Example  const samples = await decodeAudio(await (await fetch('speech.wav')).blob(), 16_000);
 */
export async function decodeAudio(source: Blob | Uint8Array, samplingRate: number): Promise<Float32Array> {
  if (!(samplingRate > 0 && samplingRate < Number.POSITIVE_INFINITY))
    throw new ConfigError({
      path: 'decodeAudio: samplingRate',
      problem: 'no rate',
      expected: 'a number above 0',
      got: describe(samplingRate),
    });
  const { OfflineAudioContext } = globalThis as Platform;
  try {
    const bytes = source instanceof Uint8Array ? source : new Uint8Array(await source.arrayBuffer());
    const channels = OfflineAudioContext
      ? await byPlatform(bytes, samplingRate, OfflineAudioContext)
      : await byWavefile(bytes, samplingRate);
    return mean(channels);
  } catch (cause) {
    throw new FileError(
      {
        path: 'decodeAudio',
        problem: 'not a sound that can be decoded',
        expected: OfflineAudioContext ? 'a file that this browser plays' : 'a WAV file',
        got: cause instanceof Error ? cause.message : String(cause),
      },
      { cause },
    );
  }
}

async function byPlatform(
  bytes: Uint8Array,
  samplingRate: number,
  Context: NonNullable<Platform['OfflineAudioContext']>,
): Promise<readonly Float32Array[]> {
  // Decoding takes the buffer away from its owner, so it gets a copy. The sound is resampled to the rate of the context.
  const decoded = await new Context(1, 1, samplingRate).decodeAudioData(bytes.slice().buffer);
  return Array.from({ length: decoded.numberOfChannels }, (_, i) => decoded.getChannelData(i));
}

async function byWavefile(bytes: Uint8Array, samplingRate: number): Promise<readonly Float32Array[]> {
  // A CommonJS module in Node.js, a module with names in bundles.
  const library = (await import('wavefile')) as typeof import('wavefile') & { readonly default?: typeof import('wavefile') };
  const wav = new (library.default ?? library).WaveFile(bytes);
  wav.toBitDepth('32f');
  if ((wav.fmt as { sampleRate: number }).sampleRate !== samplingRate) wav.toSampleRate(samplingRate);
  const samples = wav.getSamples(false, Float32Array) as unknown as Float32Array | Float32Array[];
  return Array.isArray(samples) ? samples : [samples];
}

function mean(channels: readonly Float32Array[]): Float32Array {
  const [first, ...others] = channels;
  if (!first?.length) throw new Error('no samples');
  if (!others.length) return first;
  return first.map((x, i) => others.reduce((sum, channel) => sum + channel[i]!, x) / channels.length);
}
