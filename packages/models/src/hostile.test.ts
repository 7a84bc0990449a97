// Files that are damaged or made to do harm: every one is read, or refused by an error of the library.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeSafetensors, OnnxformersError, tensor } from '@onnxformers/core';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { filesInMemory } from './files';
import { fromPretrained } from './from-pretrained';
import { f32, type GgufTensor, writeGguf } from './gguf/write.test-helper';
import { filesIn, fromPretrained as fromFolder } from './node';
import { loadTokenizer } from './tokenizer/tokenizer';

const folder = fileURLToPath(new URL('../fixtures/llama', import.meta.url));
const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)));
const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'] as const;
const whole = new Map<string, Uint8Array>(names.map((name) => [name, read(name)]));
const gguf = (): Uint8Array => {
  const tensors: Record<string, GgufTensor> = {
    'token_embd.weight': f32([3, 32], new Float32Array(96)),
    'output_norm.weight': f32([32], new Float32Array(32)),
  };
  const at = (key: string, n: number) => [`llama.${key}`, n] as const;
  return writeGguf(
    {
      'general.architecture': 'llama',
      ...Object.fromEntries([
        at('embedding_length', 32),
        at('block_count', 0),
        at('feed_forward_length', 8),
        at('attention.head_count', 2),
        at('context_length', 8),
      ]),
      'llama.attention.layer_norm_rms_epsilon': { float: 1e-5 },
    },
    tensors,
  );
};
whole.set('model.gguf', gguf());

/** Values that a key of a JSON file may have instead of its own. */
const odd: readonly unknown[] = [
  null,
  -1,
  0,
  1.5,
  1e9,
  2 ** 53,
  Number.MAX_VALUE,
  '',
  '../../etc/passwd',
  'x'.repeat(1000),
  [],
  {},
  [[[]]],
  true,
  '__proto__',
  { __proto__: null },
];

type Json = { [key: string]: Json } | Json[] | string | number | boolean | null;
/** One value anywhere in a JSON text replaced. */
function replaced(bytes: Uint8Array, pick: number, value: unknown): Uint8Array {
  const json = JSON.parse(new TextDecoder().decode(bytes)) as Json;
  const places: [Record<string, unknown>, string][] = [];
  const visit = (at: Json): void => {
    if (typeof at !== 'object' || at === null || places.length > 4000) return;
    for (const key of Object.keys(at)) {
      places.push([at as Record<string, unknown>, key]);
      visit((at as Record<string, Json>)[key]!);
    }
  };
  visit(json);
  const [at, key] = places[pick % places.length]!;
  at[key] = value;
  return new TextEncoder().encode(JSON.stringify(json));
}

const damage = fc.oneof(
  fc.record({ kind: fc.constant('cut' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({
    kind: fc.constant('flip' as const),
    at: fc.array(fc.nat(2000), { minLength: 1, maxLength: 6 }),
    byte: fc.nat(255),
  }),
  fc.record({ kind: fc.constant('value' as const), pick: fc.nat(100_000), value: fc.constantFrom(...odd) }),
);
type Damage = typeof damage extends fc.Arbitrary<infer D> ? D : never;

function damaged(bytes: Uint8Array, name: string, d: Damage): Uint8Array {
  if (d.kind === 'cut') return bytes.slice(0, Math.floor(d.share * bytes.length));
  if (d.kind === 'value' && name.endsWith('.json')) return replaced(bytes, d.pick, d.value);
  const changed = bytes.slice();
  for (const at of d.kind === 'flip' ? d.at : [d.pick]) changed[at % changed.length] = d.kind === 'flip' ? d.byte : 255;
  return changed;
}

/** Settles: with a result, or with an error of the library that says something. */
async function settles(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof OnnxformersError)) throw error;
    expect(error.message.length).toBeGreaterThan(10);
    expect(error.message.length).toBeLessThan(20_000);
  }
}

it('damaged files are read or refused by an error of the library', async () => {
  const before = process.memoryUsage().arrayBuffers;
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...whole.keys()), damage, async (name, how) => {
      const files = new Map([...whole, [name, damaged(whole.get(name)!, name, how)]]);
      if (name.startsWith('tokenizer')) {
        await settles(async () => (await loadTokenizer(filesInMemory(files))).encode('some text'));
        return;
      }
      await settles(async () => {
        const model = await fromPretrained(files, name === 'model.gguf' ? { ggufFile: name } : {});
        const [first] = model.weights.values();
        await first?.load();
      });
    }),
    { numRuns: 250, interruptAfterTimeLimit: 3000 },
  );
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(512 * 2 ** 20);
});

const place = mkdtempSync(join(tmpdir(), 'hostile-'));
afterAll(() => rmSync(place, { recursive: true }));

it('nothing outside the folder is read', async () => {
  const inner = join(place, 'model');
  mkdirSync(inner);
  writeFileSync(join(inner, 'config.json'), read('config.json'));
  const outside = encodeSafetensors([['model.norm.weight', tensor('float32', [40], new Float32Array(40))]]);
  writeFileSync(join(place, 'secret.safetensors'), outside);
  for (const file of [
    '../secret.safetensors',
    join(place, 'secret.safetensors'),
    '..\\secret.safetensors',
    './../secret.safetensors',
    '..',
  ]) {
    writeFileSync(join(inner, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { 'model.norm.weight': file } }));
    await expect(fromFolder(inner), file).rejects.toThrow('expected a file name without a folder');
    await expect(filesIn(inner).open(file), file).rejects.toThrow('not a name inside the folder');
    await expect(fromFolder(inner, { ggufFile: file }), file).rejects.toThrow('not a name inside the folder');
  }
});

it('counts that would fill the memory are refused', async () => {
  const config = JSON.parse(new TextDecoder().decode(read('config.json'))) as object;
  const files = new Map([
    ...whole,
    ['config.json', new TextEncoder().encode(JSON.stringify({ ...config, num_hidden_layers: 1e9 }))],
  ]);
  await expect(fromPretrained(files)).rejects.toThrow(
    'num_hidden_layers: more parts than a model can have; expected at most 4096',
  );
});
