// The two commands.
import { resolve } from 'node:path';
import { ConfigError } from '@onnxformers/core';
import { filesIn } from '@onnxformers/models/node';
import { textFiles } from './files';
import { passagesOf } from './passages';
import { openSentenceEncoder } from './sentence-encoder';
import { createStore, type FoundPassage, type Hit, type Origin, openStore } from './store';

/** Tokens of a passage at most: more would mix what a single vector says. */
const passageTokens = 256;

/** Writes an index of the text files of a folder. Returns what was done, as a sentence. */
export async function index(
  folder: string,
  { out, report, ...from }: Omit<Origin, 'dim'> & { readonly out: string; readonly report: (line: string) => void },
): Promise<string> {
  const files = await textFiles(folder, report);
  const encoder = await openSentenceEncoder(filesIn(from.model), from.pooling);
  try {
    const most = Math.min(passageTokens, encoder.maxLength);
    const passages = files.flatMap(({ path, text }): readonly FoundPassage[] =>
      passagesOf(text, (part) => encoder.count(part) <= most).map((passage) => ({ file: path, ...passage })),
    );
    if (!passages.length)
      throw new ConfigError({
        path: folder,
        problem: 'no text in the folder',
        expected: 'files that end with .txt, .md or the like',
      });
    const vectors = await encoder.embed(passages.map(({ text }) => text));
    const store = await createStore({ ...from, model: resolve(from.model), dim: encoder.dim }, passages, vectors);
    await store.save(out);
    const { tokens, batches, milliseconds, layout } = encoder.report!;
    const work = `${tokens.toLocaleString('en')} tokens in ${batches} ${layout} batches, ${(milliseconds / 1e3).toFixed(1)} s`;
    return `${passages.length} passages of ${files.length} files: ${work}`;
  } finally {
    await encoder.dispose();
  }
}

/** The passages that are nearest to a query. */
export async function find(path: string, query: string, count: number): Promise<readonly Hit[]> {
  const store = await openStore(path);
  const encoder = await openSentenceEncoder(filesIn(store.origin.model), store.origin.pooling);
  try {
    const [vector] = await encoder.embed([query]);
    return await store.nearest(vector!, count);
  } finally {
    await encoder.dispose();
  }
}
