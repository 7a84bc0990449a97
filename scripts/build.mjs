// Builds every package into its dist: ESM, CommonJS and declarations. Packages see each other's sources, so the order is free.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
const tsup = fileURLToPath(new URL('node_modules/tsup/dist/cli-default.js', root));
// The graph names the type of its ops, which name the graph: that matters for modules that run, not for declarations in several files.
const chunkOrder =
  /^Export ".*" of module ".*" was reexported through module .* broken execution order\.\nEither change the import in .*\n/gm;
for (const name of readdirSync(new URL('packages', root))) {
  const cwd = fileURLToPath(new URL(`packages/${name}`, root));
  const { status, stderr } = spawnSync(process.execPath, [tsup, '--silent'], {
    cwd,
    stdio: ['ignore', 'inherit', 'pipe'],
    encoding: 'utf8',
  });
  process.stderr.write(stderr.replace(chunkOrder, ''));
  if (status !== 0) {
    console.error(`packages/${name} did not build.`);
    process.exit(status ?? 1);
  }
  console.log(`built packages/${name}`);
}
