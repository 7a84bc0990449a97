// Packs what the GPU checks need besides the runtime into one folder: the bundled script, the demo's weights, ids and recorded vectors.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { recorded } from '../../examples/sentence-similarity/reference.test-helper';
import { toBatch } from '../../examples/sentence-similarity/tokenizer';
import { readWeights } from '../../examples/sentence-similarity/weights';
import { encodeSafetensors, tensor } from '../../packages/onnxformers/src/index';

const out = process.argv[2] ?? '.gpu/checks';
mkdirSync(out, { recursive: true });
const sentences = recorded().filter((r) => r.ids.length > 0);
const { ids, lengths } = toBatch(sentences.map((r) => r.ids as never));
const vectors = tensor(
  'float32',
  [sentences.length, 512],
  sentences.flatMap((r) => [...r.vector]),
);
const weights = new Map(await readWeights());
// Of the embeddings those that are read: the folder is to travel.
const used = [...new Set(Array.from(ids.data as BigInt64Array, Number))].sort((a, b) => a - b);
const rows = weights.get('embedding.weight')!;
const width = rows.dims[1]!;
const picked = used.flatMap((id) => [...(rows.data as Float32Array).subarray(id * width, (id + 1) * width)]);
weights.set('embedding.weight', tensor('float32', [used.length, width], picked));
const all = new Map([...weights].map(([name, t]) => [`weight/${name}`, t] as const));
for (const [name, t] of Object.entries({ ids, lengths, vectors, used: tensor('int64', [used.length], used) }))
  all.set(name as never, t);
writeFileSync(join(out, 'demo.safetensors.gz'), gzipSync(encodeSafetensors(all)));
rmSync(join(out, 'demo.safetensors'), { force: true });
copyFileSync(new URL('../../examples/causal-lm/config.json', import.meta.url), join(out, 'causal-lm.json'));

const { build } = createRequire(createRequire(import.meta.url).resolve('tsup'))('esbuild') as {
  build(options: object): Promise<unknown>;
};
// The command line says its version, which is beside it in a package only.
const { version } = createRequire(import.meta.url)('../../packages/onnxformers/package.json') as { readonly version: string };
const packageFile = "JSON.parse(readFileSync(new URL('../../package.json', here), 'utf8')).version";
const versions = {
  name: 'version',
  setup(b: { onLoad(o: object, f: (file: { path: string }) => object): void }) {
    b.onLoad({ filter: /cli\/versions\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!text.includes(packageFile)) throw new Error(`${path} reads its version in another way`);
      return { contents: text.replace(packageFile, JSON.stringify(version)), loader: 'ts' };
    });
  },
};
await build({
  entryPoints: {
    checks: new URL('main.ts', import.meta.url).pathname,
    // node models.mjs DIR --target cuda --dtype float16: the recorded models of Hugging Face.
    models: new URL('../../packages/models/src/replay/fixtures.ts', import.meta.url).pathname,
  },
  outdir: out,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  external: ['onnxruntime-node', 'onnxruntime-web', '@viz-js/viz', 'sharp'],
  conditions: ['@onnxformers/source'],
  banner: { js: "import { createRequire as __r } from 'node:module'; const require = __r(import.meta.url);" },
  logLevel: 'error',
  plugins: [versions],
});
process.stdout.write(`${out}\n`);
