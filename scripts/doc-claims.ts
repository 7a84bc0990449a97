// Compares the docstrings of blocks with what the blocks do.
import { type AnyBlock, compile, type Dim, dim, type ModelDType, targets } from '../packages/core/src/index';
import { type Example, traceExample } from '../packages/core/src/testing/example';
import { exampleOf, typesOf } from '../packages/core/src/testing/index';
import { zoo } from '../packages/onnxformers/src/index';
import type { Docstrings } from './docstrings';
import { keyOf, type LoweredExample, loweredExamples, masksOf, places } from './lowered-ops';

const blocks = zoo.blocks as readonly AnyBlock[];
const families = ['portable', 'cpu', 'wasm', 'webgpu', 'cuda'] as const;
type Family = (typeof families)[number];

// ---- Lowers -----------------------------------------------------------------------------------------------------------

/** `cuda, cpu: MatMul, MultiHeadAttention · portable: primitives` → the names of ops by target; other words are ignored. */
export function claimedOps(lowers: string): ReadonlyMap<Family, readonly string[]> | string {
  const parts = lowers.split(' · ');
  if (parts.length === 1 && !lowers.includes(':')) return new Map();
  const found = new Map<Family, readonly string[]>();
  for (const part of parts) {
    const [, names = '', text = ''] = /^([a-z, ]+): (.+)$/.exec(part) ?? [];
    const named = names.split(', ').flatMap((name) => {
      if (name === 'everywhere') return families;
      return name === 'elsewhere' ? families.filter((family) => !found.has(family)) : [name as Family];
    });
    if (!named.length || !named.every((name) => families.includes(name))) return part;
    for (const name of named) found.set(name, [...(found.get(name) ?? []), ...(text.match(/\b[A-Z][A-Za-z]+\b/g) ?? [])]);
  }
  return found;
}

/** Ops that stand for several others; a docstring has to name them. */
const functionOps = new Set(
  'Attention RotaryEmbedding RMSNormalization LayerNormalization SimplifiedLayerNormalization Gelu DFT'.split(' '),
);
const isFused = (key: string): boolean => key.startsWith('com.microsoft.') || functionOps.has(key);
const bare = (key: string): string => key.replace(/^.+\./, '');

function opsOn({ ops }: LoweredExample, family: Family) {
  return places.filter(({ target }) => target.name.split('-')[0] === family).flatMap(({ name }) => ops.get(name)!);
}

/**
 * Where `Lowers` lines and golden lists differ: ops that a line names for a target and that no example with the block becomes there, and fused
 * ops that a block becomes there and that its line does not name.
 */
export function wrongLowers(docs: Docstrings): string[] {
  return blocks.flatMap((block) => {
    const key = keyOf(block);
    const claimed = claimedOps(docs.get(key)?.entries.get('Lowers') ?? '');
    if (typeof claimed === 'string') return [`${key}: no list of targets in "${claimed}"`];
    const around = loweredExamples().filter(({ parts }) => parts.has(key));
    return families.flatMap((family) => {
      const named = claimed.get(family) ?? [];
      const ops = around.flatMap((example) => opsOn(example, family));
      const there = new Set(ops.map((op) => bare(op.key)));
      const own = new Set(ops.filter((op) => op.block === key && isFused(op.key)).map((op) => bare(op.key)));
      return [
        ...named.filter((op) => !there.has(op)).map((op) => `${key} on ${family}: no example becomes ${op}`),
        ...[...own].filter((op) => !named.includes(op)).map((op) => `${key} on ${family}: ${op} is not named`),
      ];
    });
  });
}

// ---- Dtypes -----------------------------------------------------------------------------------------------------------

const dtypes: readonly ModelDType[] = ['float32', 'float16', 'bfloat16'];
const everyTarget = [
  targets.portable(18),
  targets.portable(21),
  targets.portable(23),
  targets.cpu,
  targets.wasm,
  targets.webgpu,
  targets.cuda,
];

const examplesOf = (block: AnyBlock): Example[] =>
  block.definition.examples.map((_: unknown, index: number) => exampleOf(block, index, zoo));

/** Dtypes that a docstring names and that some target cannot compile, and those that every target compiles and none names. */
export function wrongDtypes(docs: Docstrings): string[] {
  return blocks.flatMap((block) => {
    const key = keyOf(block);
    const named = docs.get(key)?.entries.get('Dtypes')?.split(';')[0]?.split(', ') ?? [];
    const examples = examplesOf(block);
    return dtypes.flatMap((dtype) => {
      const faults = everyTarget.flatMap((target) =>
        examples.flatMap(({ module, inputs }) => {
          try {
            compile(module, { target, dtype, inputs: typesOf(inputs) });
            return [];
          } catch (error) {
            return [`${key} in ${dtype} on ${target.name}: ${(error as Error).message}`];
          }
        }),
      );
      if (named.includes(dtype)) return faults;
      return faults.length ? [] : [`${key}: ${dtype} is not named`];
    });
  });
}

// ---- Masks ------------------------------------------------------------------------------------------------------------

/** `Masks` lines that do not begin with the masks that the definition declares. */
export function wrongMasks(docs: Docstrings): string[] {
  return blocks.flatMap((block) => {
    const masks = masksOf(block);
    const line = docs.get(keyOf(block))?.entries.get('Masks');
    if (!masks) return block.kind === 'attention' ? [`${keyOf(block)} declares no masks`] : [];
    const said = masks === 'all' ? 'all kinds' : masks.join(', ') || 'none';
    return line !== undefined && new RegExp(`^${said}($|[,:; ])`).test(line)
      ? []
      : [`${keyOf(block)}: expected "${said}", got "${line}"`];
  });
}

// ---- Shapes -----------------------------------------------------------------------------------------------------------

/** `x [batch, seq, dim] → the same, or [batch, outDim]; seq ≤ 7` → what stands behind the arrow, and `x`'s dims. */
function outcomesIn(shapes: string): readonly string[] {
  const [, result = ''] = shapes.split(';')[0]!.split(' → ');
  return result.split(/,? or (?=\[|the|[a-z_]+ (?:\[|int))/).map((text) => text.trim());
}

/** True where dims are as said: names of the config stand for their numbers, `...` for any axes. */
function fits(said: string, dims: readonly Dim[], example: Example): boolean {
  const of = Object.values(example.inputs).map((input) => input.dims);
  if (/^(the same|like [a-z]+)/.test(said)) return of.some((given) => `${given}` === `${dims}`);
  const axes = /\[(.*?)\]/.exec(said)?.[1]?.split(/, (?![^(]*\))/);
  if (!axes) return false;
  const open = axes[0] === '...';
  const wanted = open ? axes.slice(1) : axes;
  const got = open ? dims.slice(-wanted.length) : dims;
  return wanted.length === got.length && wanted.every((axis, i) => sizeSaid(axis, got[i], example, of.flat()));
}

// A size of the graph, a number under that name anywhere in the config, or one of an input.
function sizeSaid(axis: string, size: Dim | undefined, { given, config }: Example, sizes: readonly Dim[]): boolean {
  // The keys of an example are its own positions.
  const [height, width] = Array.isArray(config.grid) ? config.grid : [];
  // Elements of a list have its name and their place: strides1, strides2.
  const elements = Object.entries(config).flatMap(([name, value]) =>
    Array.isArray(value) ? value.map((element, i) => [`${name}${i + 1}`, element] as const) : [],
  );
  const known: Readonly<Record<string, unknown>> = { height, width, ...Object.fromEntries(elements), ...config };
  const inNumbers = axis.replace(/\b[A-Za-z]\w*/g, (word) => (typeof known[word] === 'number' ? String(known[word]) : word));
  if (typeof size === 'string') return size === dim(inNumbers) || (axis === 'kv_seq' && size === 'seq');
  if (config[axis] !== undefined) return config[axis] === size;
  if (axis.includes('(')) return dim(inNumbers) === size;
  return sizes.includes(size!) || JSON.stringify(given).includes(`"${axis}":${size}`);
}

/** `Shapes` lines of which no alternative is what an example gives. */
export function wrongShapes(docs: Docstrings): string[] {
  return blocks.flatMap((block) => {
    const line = docs.get(keyOf(block))?.entries.get('Shapes');
    if (!line) return [`${keyOf(block)} says no shapes`];
    return examplesOf(block).flatMap((example) => {
      const { outputs } = traceExample(example.module, example.inputs);
      return outputs
        .filter(({ value }) => !outcomesIn(line).some((said) => fits(said, value.dims, example)))
        .map(
          ({ name, value }) =>
            `${keyOf(block)}, example ${example.index}: ${name} is [${value.dims.join(', ')}], said is "${line}"`,
        );
    });
  });
}
