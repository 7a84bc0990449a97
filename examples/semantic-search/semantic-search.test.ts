import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { filesIn, pipeline } from '@onnxformers/models/node';
import * as ort from 'onnxruntime-node';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { find, index } from './commands';
import { passagesOf } from './passages';
import { openSentenceEncoder } from './sentence-encoder';
import { openStore } from './store';

// Random weights: which text is near to which means nothing, but the numbers are those of the model.
const model = fileURLToPath(new URL('../../packages/models/fixtures/bert', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'semantic-search-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const words = (most: number) => (text: string) => text.split(/\s+/).filter(Boolean).length <= most;

it('divides a text into paragraphs, where they are too long into sentences, and those into words', () => {
  const text =
    '# Title\n\nOne short paragraph.\n\n \n  First sentence of three. Second one.\nThird.\n\none two three four five six seven\n';
  expect(passagesOf(text, words(5))).toEqual([
    { text: '# Title One short paragraph.', line: 1 },
    { text: 'First sentence of three.', line: 6 },
    { text: 'Second one. Third.', line: 6 },
    { text: 'one two three four five', line: 9 },
    { text: 'six seven', line: 9 },
  ]);
  expect(passagesOf(' \n\n ', words(5))).toEqual([]);
});

const texts = [
  'the old river runs to the sea',
  'a dog',
  'where is the mountain, and how high is it?',
  'the cat sat on the mat',
  'it',
];

it('embeds texts in one packed batch as a pipeline does one by one', async () => {
  const encoder = await openSentenceEncoder(filesIn(model), 'mean');
  const vectors = await encoder.embed(texts);
  expect(encoder.report).toMatchObject({ layout: 'packed', batches: 1, padding: 0 });
  const embed = await pipeline('feature-extraction', model, ort);
  for (const [i, text] of texts.entries()) {
    const { data } = await embed(text, { pooling: 'mean' });
    expect(Array.from(vectors[i]!)).toEqual(Array.from(data as Float32Array, (x) => expect.closeTo(x, 4)));
  }
  await embed.dispose();
  await encoder.dispose();
});

it('refuses a decoder, and a checkpoint that does not say how it pools', async () => {
  const llama = fileURLToPath(new URL('../../packages/models/fixtures/llama', import.meta.url));
  await expect(openSentenceEncoder(filesIn(llama), 'mean')).rejects.toThrow(/model: not a sentence encoder/);
  await expect(openSentenceEncoder(filesIn(model))).rejects.toThrow(/1_Pooling\/config\.json: missing/);
});

it('finds the passages whose vectors are nearest, from a file', async () => {
  await mkdir(join(folder, 'texts', 'deep'), { recursive: true });
  await writeFile(join(folder, 'texts', 'a.txt'), `${texts[0]}\n\n${texts[1]}\n`);
  await writeFile(join(folder, 'texts', 'deep', 'b.md'), `${texts[2]}\n\n\n${texts[3]}\n\n${texts[4]}`);
  await writeFile(join(folder, 'texts', 'binary.txt'), new Uint8Array([0xff, 0xfe, 0x00]));
  const problems: string[] = [];
  const out = join(folder, 'index.json');
  const done = await index(join(folder, 'texts'), { model, pooling: 'mean', out, report: (line) => problems.push(line) });
  expect(done).toMatch(/^5 passages of 2 files: 37 tokens in 1 packed batches/);
  expect(problems).toEqual(['binary.txt is left out: it is not UTF-8']);

  const hits = await find(out, texts[3]!, 4);
  expect(hits[0]).toEqual({ file: 'deep/b.md', line: 4, text: texts[3], score: expect.closeTo(1, 5) });

  const encoder = await openSentenceEncoder(filesIn(model), 'mean');
  const [query, ...vectors] = await encoder.embed([texts[3]!, ...texts]);
  await encoder.dispose();
  const cosine = (a: Float32Array, b: Float32Array) =>
    a.reduce((sum, x, i) => sum + x * b[i]!, 0) / (Math.hypot(...a) * Math.hypot(...b));
  const expected = vectors
    .map((vector, i) => ({ text: texts[i]!, score: cosine(query!, vector) }))
    .sort((a, b) => b.score - a.score);
  expect(hits.map(({ text, score }) => ({ text, score }))).toEqual(
    expected.slice(0, 4).map(({ text, score }) => ({ text, score: expect.closeTo(score, 5) })),
  );
});

it('refuses a file that is no index, and a folder without texts', async () => {
  await writeFile(join(folder, 'other.json'), '{"format":"other"}');
  await expect(openStore(join(folder, 'other.json'))).rejects.toThrow(/not an index.*got format "other"/);
  await mkdir(join(folder, 'empty'));
  const nothing = index(join(folder, 'empty'), { model, pooling: 'mean', out: join(folder, 'x.json'), report: () => undefined });
  await expect(nothing).rejects.toThrow(/no text in the folder/);
});
