// The recorded answers of the original model.
import { readFileSync } from 'node:fs';

/** One sentence, its token ids (not cut) and what the original computes for it. */
export interface Recorded {
  readonly text: string;
  readonly ids: readonly number[];
  readonly vector: Float32Array;
  readonly activations?: Readonly<Record<'embedded' | 'layer0' | 'layer1', Float32Array>>;
}

function floats(base64: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  return new Float32Array(bytes.buffer);
}

interface Written {
  readonly text: string;
  readonly ids: readonly number[];
  readonly vector: string;
  readonly activations?: Readonly<Record<'embedded' | 'layer0' | 'layer1', string>>;
}

/** The sentences of `fixtures/reference.json`. */
export function recorded(): readonly Recorded[] {
  const file = JSON.parse(readFileSync(new URL('fixtures/reference.json', import.meta.url), 'utf8')) as {
    sentences: readonly Written[];
  };
  return file.sentences.map(({ text, ids, vector, activations: a }) => ({
    text,
    ids,
    vector: floats(vector),
    ...(a && { activations: { embedded: floats(a.embedded), layer0: floats(a.layer0), layer1: floats(a.layer1) } }),
  }));
}
