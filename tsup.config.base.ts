import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Options } from 'tsup';
import { reach, resolveRelative, sourceFiles } from './scripts/imports';

const packages = fileURLToPath(new URL('packages', import.meta.url));

type Plugin = NonNullable<Options['esbuildPlugins']>[number];
type Manifest = { exports: Record<string, string | { '@onnxformers/source'?: string }> };

/** The source files that the package.json in the current folder exports. */
function exported(): string[] {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
  const sources = Object.values(exports).map((target) =>
    typeof target === 'string' ? undefined : target['@onnxformers/source'],
  );
  return sources.flatMap((source) => (source === undefined ? [] : [join(process.cwd(), source)]));
}

/** Name in dist → source file: `src/ops/cast.ts` becomes `dist/ops/cast.js`. */
const named = (files: Iterable<string>) =>
  Object.fromEntries([...files].map((file) => [relative('src', file).replaceAll('\\', '/').replace(/\.ts$/, ''), file]));

/**
 * Keeps modules apart: a relative import becomes one of the built neighbour. Bundled into one file, a package would not be shaken by
 * its users' bundlers (they drop unused modules, but never a call at top level), and its subpaths would hold copies of each other.
 */
const keepModules: Plugin = {
  name: 'keep-modules',
  setup(build) {
    const extension = build.initialOptions.outExtension?.['.js'] ?? '.js';
    build.onResolve({ filter: /^\.\.?(\/|$)/ }, ({ path, importer, kind, resolveDir }) => {
      const target = kind === 'entry-point' ? undefined : resolveRelative(importer, path);
      if (target === undefined) return undefined;
      const neighbour = relative(resolveDir, target).replaceAll('\\', '/').replace(/\.ts$/, extension);
      return { path: neighbour.startsWith('.') ? neighbour : `./${neighbour}`, external: true };
    });
  },
};

/** The names of the functions that are marked to have no side effects, in all packages. */
const pure = /@__NO_SIDE_EFFECTS__ \*\/\n(?:export )?function (\w+)/g;
const pureFunctions = readdirSync(packages)
  .flatMap((name) => sourceFiles(join(packages, name, 'src')))
  .flatMap((file) => [...readFileSync(file, 'utf8').matchAll(pure)].map(([, name]) => name));
const pureCall = new RegExp(`^((?:export )?const [^\\n]* = )(?=(?:${pureFunctions.join('|')})\\b)`, 'gm');

/**
 * Marks their calls at top level. Bundlers that look at one file at a time, or do not follow the mark of a function into other files, drop an unused
 * op or block only then.
 */
const markPureCalls: Plugin = {
  name: 'mark-pure-calls',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(pureCall, '$1/* @__PURE__ */ '),
      loader: 'ts',
    }));
  },
};

/** What every library package is built with; `more` names source files besides those that it exports, such as a command. */
export const library = (...more: readonly string[]) => {
  const entries = [...exported(), ...more.map((file) => join(process.cwd(), file))];
  return defineConfig({
    entry: named(reach(entries)),
    format: ['esm', 'cjs'],
    platform: 'neutral',
    target: 'es2022',
    external: [/^node:/],
    removeNodeProtocol: false, // a bundler then knows what is Node's
    splitting: false,
    esbuildPlugins: [keepModules, markPureCalls],
    dts: { entry: named(exported()), compilerOptions: { ignoreDeprecations: '6.0' } }, // tsup 8 sets baseUrl, an error in TypeScript 6
    sourcemap: true,
    clean: true,
  });
};
