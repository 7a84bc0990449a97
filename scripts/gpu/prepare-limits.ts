// Makes a folder that asks a GPU for the limits of kernels: the models, and a bundled script that needs only onnxruntime-node with its CUDA provider.
//     tsx --conditions=@onnxformers/source scripts/gpu/prepare-limits.ts [FOLDER]
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { targets } from '../../packages/onnxformers/src/index';
import { limitModels } from '../probe/limits';

const out = process.argv[2] ?? '.gpu/limits';
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const models = await limitModels((op) => targets.cuda.kernels[op]?.dtypes ?? [], { name: 'cuda' }, out);
writeFileSync(join(out, 'models.json'), JSON.stringify(models));
for (const name of ['run-models.mjs', 'feeds.mjs']) copyFileSync(new URL(`../probe/${name}`, import.meta.url), join(out, name));
const { build } = createRequire(createRequire(import.meta.url).resolve('tsup'))('esbuild') as {
  build(options: object): Promise<unknown>;
};
await build({
  entryPoints: [new URL('limits.ts', import.meta.url).pathname],
  outfile: join(out, 'limits.mjs'),
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  conditions: ['@onnxformers/source'],
  logLevel: 'error',
});
process.stdout.write(`${out}: ${models.length} models\n`);
