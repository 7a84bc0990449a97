import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, type Rollup } from 'vite';

/** An import and the names it offers. */
export interface Import {
  readonly name: string;
  readonly exports: readonly string[];
}

type Block = { readonly kind: string; readonly blockName: string };

/** Bytes of a minified bundle, everything it needs included. */
export interface Size {
  readonly name: string;
  /** The block that it imports, if it imports one. */
  readonly block?: Block;
  readonly minified: number;
  readonly gzipped: number;
  /** Of a block: the minified bundle when its names come from the index of its package. */
  readonly throughIndex?: number;
}

/** Maximum size of a block with the parts of core that it needs, in kilobytes, minified: by its kind, or by its name for a lower limit. */
const blockBudget: Readonly<Record<string, number>> = {
  activation: 17.5,
  norm: 18,
  layer: 30,
  embedding: 49.5,
  feedforward: 33.5,
  position: 45.5,
  rotaryEmbedding: 43.5,
  attentionBias: 42,
  mixer: 108,
  attention: 123,
  relu: 12,
  token: 25,
  vocab: 31,
  linformer: 55.5,
  scaled_dot_product: 78,
  local: 80,
  multi_head_latent: 115,
  mixture_of_experts: 79,
  sparse_moe: 75,
  conv2d_feedforward: 39,
  merge_patches: 41,
  deep_norm: 32.5,
  reversible: 22.5,
  simplicial: 24.5,
  axial_rotary: 47.5,
  perceiver_latents: 26,
  hyper_connections: 49,
};
/** The same, gzipped, for the packages of blocks, for core and for everything. */
const packageBudget = { blocks: 75, attention: 97, core: 197, everything: 303, models: 381 };

async function bundle(scratch: string, code: string): Promise<string> {
  const entry = join(scratch, 'entry.js');
  writeFileSync(entry, code);
  const output = (await build({
    root: scratch,
    configFile: false,
    logLevel: 'error',
    build: {
      write: false,
      minify: true,
      target: 'es2022',
      // As part of an application: a library would keep its white space.
      rollupOptions: { input: entry, preserveEntrySignatures: 'strict', output: { format: 'es' } },
    },
  })) as Rollup.RollupOutput;
  const chunks = output.output.filter((part) => part.type === 'chunk');
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

/** Bundles every import with Vite as an application would; those of Node (`…/node`) are not part of a bundle. */
export async function measure(scratch: string, imports: readonly Import[]): Promise<Size[]> {
  const sizes: Size[] = [];
  for (const { name, exports } of imports.filter((each) => !each.name.endsWith('/node'))) {
    const text = await bundle(scratch, `export * from '${name}';`);
    const module = await import(`data:text/javascript,${encodeURIComponent(text)}`);
    const bundled = Object.keys(module).sort();
    if (bundled.join() !== exports.join()) throw new Error(`${name}: expected ${exports} from its bundle, got ${bundled}`);
    const block = indexOf(name) && Object.values(module as Record<string, Block>).find((value) => value.blockName);
    const size = {
      name,
      ...(block && { block }),
      minified: Buffer.byteLength(text),
      gzipped: gzipSync(text, { level: 9 }).length,
    };
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

function packageAllows(name: string): number {
  if (name.startsWith('@onnxformers/core')) return packageBudget.core;
  if (name.startsWith('@onnxformers/models')) return packageBudget.models;
  if (name === '@onnxformers/attention') return packageBudget.attention;
  return name === 'onnxformers' ? packageBudget.everything : packageBudget.blocks;
}

function tooLarge({ name, block, minified, gzipped }: Size): string[] {
  const most = block ? (blockBudget[block.blockName] ?? blockBudget[block.kind]) : packageAllows(name);
  if (most === undefined) return [`${name}: there is no budget for bundles of the kind ${block!.kind}.`];
  const [bytes, how] = block ? [minified, 'minified'] : [gzipped, 'gzipped'];
  return bytes > 1000 * most ? [`${name}: expected at most ${most} kB ${how} in a bundle, got ${kB(bytes)} kB.`] : [];
}

/** Violations as texts: an import over its budget, or a block that is larger if it is imported from its package's index. */
export function violations(sizes: readonly Size[]): string[] {
  return sizes.flatMap((size) => {
    const { name, minified, throughIndex = minified } = size;
    return [
      ...tooLarge(size),
      ...(throughIndex > 1.02 * minified + 200
        ? [
            `${name}: expected the same bundle through ${indexOf(name)}, got ${kB(throughIndex)} kB instead of ${kB(minified)} kB: something in that package has a side effect.`,
          ]
        : []),
    ];
  });
}
