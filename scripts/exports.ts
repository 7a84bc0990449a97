/**
 * Writes `exports` and `publishConfig` of every package.json from the source files. A file that exports one of its package's
 * blocks gets a subpath of its own name, wherever it lies: `src/mixers/multi-head.ts` becomes `@onnxformers/attention/multi-head`.
 *
 *     tsx scripts/exports.ts            writes
 *     tsx scripts/exports.ts --check    fails where a package.json is not what would be written
 *
 * `tsup.config.base.ts` builds what the exports name and need, so this is the only list of entries.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { sourceFiles } from './imports';
import { root } from './pnpm.mjs';

/** Subpath → source file, relative to the package. */
type Entries = Readonly<Record<string, string>>;

/** Entries that are not blocks. */
const fixed: Readonly<Record<string, Entries>> = {
  core: {
    './ops': 'src/ops/index.ts',
    './lowering': 'src/lowering.ts',
    './node': 'src/node.ts',
    './testing': 'src/testing/index.ts',
  },
  models: { './node': 'src/node.ts' },
};
/** Where each block has a subpath. The other packages are used through their index. */
const blockPackages = ['attention', 'feedforward', 'positional', 'residual'];

async function blockEntries(folder: string): Promise<Entries> {
  const load = async (file: string): Promise<Record<string, unknown>> => import(pathToFileURL(file).href);
  const { blocks = [] } = (await load(join(folder, 'src/index.ts'))) as { blocks?: readonly unknown[] };
  const entries: Record<string, string> = {};
  const candidates = sourceFiles(join(folder, 'src')).filter((file) => !/(\.test|\.test-helper|\bindex)\.ts$/.test(file));
  for (const file of candidates) {
    if (!Object.values(await load(file)).some((value) => blocks.includes(value))) continue;
    const subpath = `./${basename(file, '.ts')}`;
    const path = relative(folder, file).replaceAll('\\', '/');
    if (entries[subpath]) {
      throw new Error(`${folder}: ${entries[subpath]} and ${path} would both be ${subpath}. Rename one of them.`);
    }
    entries[subpath] = path;
  }
  return entries;
}

/** The `exports` of a package: the sources in this workspace, the built files where it is installed. */
export function exportsOf(entries: Entries, { published }: { published: boolean }): Record<string, unknown> {
  const targets = Object.entries(entries).map(([subpath, file]) => {
    const built = `./${file.replace(/^src\//, 'dist/').replace(/\.ts$/, '')}`;
    return [
      subpath,
      {
        ...(published ? {} : { '@onnxformers/source': `./${file}` }),
        import: { types: `${built}.d.ts`, default: `${built}.js` },
        require: { types: `${built}.d.cts`, default: `${built}.cjs` },
      },
    ];
  });
  return { ...Object.fromEntries(targets), './package.json': './package.json' };
}

async function manifest(name: string): Promise<{ path: string; now: object; wanted: object }> {
  const folder = join(root, 'packages', name);
  const path = join(folder, 'package.json');
  const now = JSON.parse(readFileSync(path, 'utf8'));
  const blocks = blockPackages.includes(name) ? await blockEntries(folder) : {};
  const entries = { '.': 'src/index.ts', ...fixed[name], ...blocks };
  const wanted = {
    ...now,
    exports: exportsOf(entries, { published: false }),
    publishConfig: { access: 'public', exports: exportsOf(entries, { published: true }) },
  };
  return { path, now, wanted };
}

async function main(check: boolean): Promise<void> {
  for (const name of readdirSync(join(root, 'packages'))) {
    const { path, now, wanted } = await manifest(name);
    // Order matters too: a condition that comes first wins.
    if (JSON.stringify(now) === JSON.stringify(wanted)) continue;
    const shown = relative(root, path);
    if (check) {
      console.error(`${shown}: its exports do not match the source files. Run \`npm run exports\` and commit the result.`);
      process.exitCode = 1;
    } else {
      writeFileSync(path, `${JSON.stringify(wanted, null, 2)}\n`);
      console.log(`wrote ${shown}`);
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.includes('--check'));
