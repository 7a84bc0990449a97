import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, type Rollup } from 'vite';

/** An import and the names it offers. */
export interface Import {
  readonly name: string;
  readonly exports: readonly string[];
}

/** Bytes of a minified bundle, everything it needs included. */
export interface Size {
  readonly name: string;
  readonly minified: number;
  readonly gzipped: number;
  /** Of a block: the minified bundle when its names come from the index of its package. */
  readonly throughIndex?: number;
}

/** Maximum size of one import in kilobytes (gzipped): a block with the parts of core that it needs; core; everything. */
const budget = { block: 60, core: 175, everything: 220 };

async function bundle(scratch: string, code: string): Promise<string> {
  const entry = join(scratch, 'entry.js');
  writeFileSync(entry, code);
  const output = (await build({
    root: scratch,
    configFile: false,
    logLevel: 'error',
    build: { write: false, minify: true, target: 'es2022', lib: { entry, formats: ['es'], fileName: 'entry' } },
  })) as Rollup.RollupOutput[];
  const chunks = output.flatMap((result) => result.output).filter((part) => part.type === 'chunk');
  for (const chunk of chunks) {
    const outside = chunk.imports.filter((name) => !chunks.some(({ fileName }) => fileName === name));
    const node = chunk.moduleIds.filter((id) => id.includes('__vite-browser-external'));
    if (outside.length + node.length > 0) throw new Error(`the bundle of \`${code}\` needs ${[...outside, ...node].join(', ')}`);
  }
  // Dynamic imports (the drawing of graphs) are not part of what loads.
  const loaded = chunks.filter((chunk) => !chunk.isDynamicEntry);
  if (loaded.length !== 1) throw new Error(`the bundle of \`${code}\` is in ${loaded.length} pieces`);
  return loaded[0]!.code;
}

/** The index of the package when an import is one of its blocks. */
function indexOf(name: string): string | undefined {
  const [scope, part, block] = name.split('/');
  return block === undefined || part === 'core' ? undefined : `${scope}/${part}`;
}

/** Bundles every import with Vite as an application would; those of Node (`…/node`) are no part of a bundle. */
export async function measure(scratch: string, imports: readonly Import[]): Promise<Size[]> {
  const sizes: Size[] = [];
  for (const { name, exports } of imports.filter((each) => !each.name.endsWith('/node'))) {
    const text = await bundle(scratch, `export * from '${name}';`);
    const bundled = Object.keys(await import(`data:text/javascript,${encodeURIComponent(text)}`)).sort();
    if (bundled.join() !== exports.join()) throw new Error(`${name}: expected ${exports} from its bundle, got ${bundled}`);
    const size = { name, minified: Buffer.byteLength(text), gzipped: gzipSync(text, { level: 9 }).length };
    const index = indexOf(name);
    const whole = index && (await bundle(scratch, `export { ${exports.join(', ')} } from '${index}';`));
    sizes.push(whole ? { ...size, throughIndex: Buffer.byteLength(whole) } : size);
  }
  return sizes;
}

const kB = (bytes: number) => (bytes / 1000).toFixed(1);

/** One line for each import. */
export function table(sizes: readonly Size[]): string {
  const width = Math.max(...sizes.map(({ name }) => name.length));
  const row = (name: string, ...cells: readonly string[]) =>
    [name.padEnd(width), ...cells.map((cell) => cell.padStart(13))].join(' ');
  return [
    row('bundle, kB', 'gzipped', 'minified', 'through index'),
    ...sizes.map(({ name, minified, gzipped, throughIndex }) =>
      row(name, kB(gzipped), kB(minified), throughIndex ? kB(throughIndex) : ''),
    ),
  ].join('\n');
}

function allowed(name: string): number {
  if (name.startsWith('@onnxformers/core')) return budget.core;
  return indexOf(name) ? budget.block : budget.everything;
}

/** Violations as texts: an import over its budget, or a block that is larger if it is imported from its package's index. */
export function violations(sizes: readonly Size[]): string[] {
  return sizes.flatMap(({ name, minified, gzipped, throughIndex = minified }) => [
    ...(gzipped > 1000 * allowed(name)
      ? [`${name}: expected at most ${allowed(name)} kB gzipped in a bundle, got ${kB(gzipped)} kB.`]
      : []),
    ...(throughIndex > 1.02 * minified + 200
      ? [
          `${name}: expected the same bundle through ${indexOf(name)}, got ${kB(throughIndex)} kB instead of ${kB(minified)} kB: something in that package has a side effect.`,
        ]
      : []),
  ]);
}
