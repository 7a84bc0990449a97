// Passages with their vectors, in one file: an index of Orama and the model that made the vectors.
import { readFile } from 'node:fs/promises';
import { FileError } from '@onnxformers/core';
import { saveText } from '@onnxformers/core/node';
import type { SentencePooling } from '@onnxformers/models';
import { create, insertMultiple, load, type RawData, save, search } from '@orama/orama';

/** A passage of a file. */
export interface FoundPassage {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** What made the vectors. */
export interface Origin {
  /** The folder of the checkpoint. */
  readonly model: string;
  readonly pooling?: SentencePooling['pooling'];
  /** Channels of a vector. */
  readonly dim: number;
}

/** A passage and the cosine of its vector with that of the query. */
export interface Hit extends FoundPassage {
  readonly score: number;
}

/** Passages that can be searched by vectors. */
export interface Store {
  readonly origin: Origin;
  /** The `count` passages whose vectors have the largest cosines with the vector, the best first. */
  nearest(vector: Float32Array, count: number): Promise<readonly Hit[]>;
  save(path: string): Promise<void>;
}

const emptyIndex = ({ dim }: Origin) => create({ schema: { vector: `vector[${dim}]` } as const });
type Index = ReturnType<typeof emptyIndex>;

function storeOf(index: Index, origin: Origin): Store {
  return {
    origin,
    async nearest(vector, count) {
      const { hits } = await search(index, {
        mode: 'vector',
        vector: { value: Array.from(vector), property: 'vector' },
        // All passages are candidates, whatever their cosine.
        similarity: -1,
        limit: count,
      });
      return hits.map(({ score, document }) => {
        const { file, line, text } = document as unknown as FoundPassage;
        return { file, line, text, score };
      });
    },
    // Vectors are stored with the index; Orama keeps those of the documents a second time until a search.
    save: (path) =>
      saveText(
        path,
        JSON.stringify({ format: 'semantic-search 1', origin, index: save(index) }, (key, value) =>
          key === 'vector' && Array.isArray(value) ? null : value,
        ),
      ),
  };
}

/** An index of passages. */
export async function createStore(
  origin: Origin,
  passages: readonly FoundPassage[],
  vectors: readonly Float32Array[],
): Promise<Store> {
  const index = emptyIndex(origin);
  await insertMultiple(
    index,
    passages.map((passage, i) => ({ ...passage, vector: Array.from(vectors[i]!) })),
  );
  return storeOf(index, origin);
}

/**
 * Reads an index.
 *
 * Throws   FileError for a file that is none
 */
export async function openStore(path: string): Promise<Store> {
  try {
    const read = JSON.parse(await readFile(path, 'utf8')) as { format?: string; origin: Origin; index: RawData };
    if (read.format !== 'semantic-search 1') throw new Error(`format ${JSON.stringify(read.format)}`);
    const index = emptyIndex(read.origin);
    load(index, read.index);
    return storeOf(index, read.origin);
  } catch (cause) {
    const got = (cause as Error).message;
    throw new FileError({ path, problem: 'not an index', expected: 'a file that the command "index" wrote', got }, { cause });
  }
}
