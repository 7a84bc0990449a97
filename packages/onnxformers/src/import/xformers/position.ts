// Positional encodings of the original.
import { type Options, optionsOf, unknownName } from '../options';
import { plain, renamed, type Translated } from '../translated';
import type { XFormersConfig } from './options';

const width = (o: Options, dim: number | undefined): number => o.int('dim_model', dim === undefined ? {} : { default: dim });

const encodings: Readonly<Record<string, (o: Options, dim?: number) => Translated>> = {
  sine: (o, dim) => plain('position', { name: 'sine', dim: width(o, dim) }),
  vocab: (o, dim) => ({
    ...plain('embedding', {
      name: 'vocab',
      dim: width(o, dim),
      seqLen: o.int('seq_len'),
      vocabSize: o.int('vocab_size'),
      dropout: o.num('dropout', { default: 0 }),
    }),
    ...renamed(['word_embeddings', 'word_embeddings'], ['position_embeddings', 'position_embeddings']),
  }),
  learnable: (o, dim) => ({
    ...plain('position', {
      name: 'learnable',
      dim: width(o, dim),
      seqLen: o.int('seq_len'),
      classToken: o.bool('add_class_token', false),
    }),
    names: [
      ['pos_emb', 'pos_emb'],
      ['class_token', 'class_token'],
    ],
  }),
};

const allOptions: ReadonlySet<string> = new Set('name dim_model seq_len vocab_size dropout add_class_token'.split(' '));

/** True for a config that names a positional encoding of the original. */
export const isPosition = (name: unknown): boolean => typeof name === 'string' && Object.hasOwn(encodings, name);

/** A position encoding, or (vocab) an embedding. Throws   ConfigError for an unknown name or option */
export function positionFrom(given: XFormersConfig, path: string, dim?: number): Translated {
  const o = optionsOf(given, path);
  const name = o.any('name');
  if (typeof name !== 'string' || !Object.hasOwn(encodings, name))
    throw unknownName('positional encoding', name, path, Object.keys(encodings));
  const translated = encodings[name]!(o, dim);
  o.finish(allOptions);
  return translated;
}
