// Packs what the GPU checks need besides the runtime into one folder: the bundled script, the demo's weights, ids and recorded vectors.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
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
const weights = await readWeights();
writeFileSync(
  join(out, 'demo.safetensors'),
  encodeSafetensors(
    new Map(
      [...weights]
        .map(([name, t]) => [`weight/${name}`, t])
        .concat([
          ['ids', ids],
          ['lengths', lengths],
          ['vectors', vectors],
        ] as never),
    ),
  ),
);

const { build } = createRequire(createRequire(import.meta.url).resolve('tsup'))('esbuild') as {
  build(options: object): Promise<unknown>;
};
await build({
  entryPoints: [new URL('main.ts', import.meta.url).pathname],
  outfile: join(out, 'checks.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  external: ['onnxruntime-node', 'onnxruntime-web', '@viz-js/viz'],
  conditions: ['@onnxformers/source'],
  banner: { js: "import { createRequire as __r } from 'node:module'; const require = __r(import.meta.url);" },
  logLevel: 'error',
});
process.stdout.write(`${out}\n`);
