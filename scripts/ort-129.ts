/**
 * Repeats tests on onnxruntime 1.29.0, the oldest version that the packages accept:
 *
 *     npm run test:ort-129                 those that can tell two versions of the runtime apart
 *     npm run test:ort-129 -- --all        all that open sessions; takes about three times as long
 *
 * The first are those about kernels, rules, sessions and caches, and the parity of every block. The others ask what a graph means, which no version of the runtime
 * changes, and reach the same kernels again. Two versions of onnxruntime-node in one process collide, so a copy of the workspace is installed with the other
 * version in place of the usual one; workers and child processes get it too.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { importsOf, resolveImport, sourceFiles } from './imports';
import { pnpm, root } from './pnpm.mjs';

const version = '1.29.0';
const copy = join(root, '.cache', `onnxruntime-${version}`);

function copyWorkspace(): void {
  const listed = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (listed.status !== 0) throw new Error(`git could not list the files of ${root}: ${listed.stderr}`);
  rmSync(copy, { recursive: true, force: true });
  for (const path of new Set(listed.stdout.split('\0'))) {
    if (path && existsSync(join(root, path))) cpSync(join(root, path), join(copy, path), { recursive: true });
  }
}

function useRuntime(manifest: string): void {
  const text = readFileSync(manifest, 'utf8');
  writeFileSync(manifest, text.replace(/("onnxruntime-(?:node|web|common)": )"\d[^"]*"/g, `$1"${version}"`));
}

/** Test files that reach an onnxruntime package, name one in a string (for a worker), or start a process of their own. */
function sessionTests(): string[] {
  const reaches = new Map<string, boolean>();
  const visit = (file: string): boolean => {
    const known = reaches.get(file);
    if (known !== undefined) return known;
    reaches.set(file, false); // ends cycles
    const found = importsOf(file).some((specifier) => {
      if (/^onnxruntime-(node|web)\b/.test(specifier) || specifier === 'node:child_process') return true;
      const target = resolveImport(file, specifier, copy);
      return target !== undefined && visit(target);
    });
    reaches.set(file, found);
    return found;
  };
  return ['packages', 'examples']
    .flatMap((folder) => sourceFiles(join(copy, folder)))
    .filter((file) => file.endsWith('.test.ts'))
    .filter((file) => visit(file) || /['"`]onnxruntime-(node|web)/.test(readFileSync(file, 'utf8')))
    .map((file) => relative(copy, file));
}

const aboutRuntime = [
  'packages/*/src/kernels/',
  'packages/core/src/{lower,onnx,runtime,targets}/',
  'packages/onnxformers/src/{parity,rules,cache,cache-bias,decoding,packed,packed-cache,paged,precision,deep,bad-input-running}.test.ts',
  'packages/onnxformers/src/memory-efficient/',
].map(matching);

/** Paths that begin as the pattern says: `{a,b}` is one of the names, a star any folder. */
function matching(pattern: string): RegExp {
  const source = pattern
    .replaceAll('.', '\\.')
    .replaceAll('*', '[^/]+')
    .replace(/\{([^}]*)\}/g, (_, names: string) => `(?:${names.replaceAll(',', '|')})`);
  return new RegExp(`^${source}`);
}

copyWorkspace();
for (const folder of [
  '.',
  ...['packages', 'examples'].flatMap((at) => readdirSync(join(copy, at)).map((name) => join(at, name))),
]) {
  const manifest = join(copy, folder, 'package.json');
  if (existsSync(manifest)) useRuntime(manifest);
}
if (pnpm(['install', '--no-frozen-lockfile'], copy) !== 0) process.exit(1);
const installed = JSON.parse(readFileSync(join(copy, 'node_modules/onnxruntime-node/package.json'), 'utf8')).version;
if (installed !== version) throw new Error(`expected onnxruntime-node ${version} in ${copy}, got ${installed}`);

const [all, options] = [process.argv.includes('--all'), process.argv.slice(2).filter((word) => word !== '--all')];
const found = sessionTests();
for (const part of aboutRuntime)
  if (!found.some((file) => part.test(file)))
    throw new Error(`no test that opens a session matches ${part}: mend the list in scripts/ort-129.ts`);
const tests = all ? found : found.filter((file) => aboutRuntime.some((part) => part.test(file)));
console.log(`${tests.length} test files on onnxruntime ${installed}`);
const vitest = join(copy, 'node_modules/vitest/vitest.mjs');
const run = spawnSync(process.execPath, [vitest, 'run', ...tests, ...options], { cwd: copy, stdio: 'inherit' });
process.exit(run.status ?? 1);
