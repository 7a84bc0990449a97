// What the mechanisms have in common and what they lack, found by compiling them.
import {
  type AnyBlock,
  type AnyModule,
  type CompileOptions,
  ConfigError,
  compile,
  type Field,
  interpret,
  type Model,
  ShapeError,
  targets,
} from '../packages/core/src/index';
import { isPastRole } from '../packages/core/src/ir/graph';
import { feedsFor } from '../packages/core/src/testing/example';
import { randomParameters, typesOf } from '../packages/core/src/testing/index';
import { causally } from '../packages/core/src/testing/variants';
import { zoo } from '../packages/onnxformers/src/index';
import type { Docstring } from './docstrings';
import { keyOf } from './lowered-ops';

type Config = Readonly<Record<string, unknown>>;

// Even: some mechanisms pair heads.
const heads = 4;
const dim = 16;
const yes = (x: boolean): string => (x ? 'yes' : 'no');

/** What f returns; undefined if the block refuses it. */
function accepted<T>(f: () => T): T | undefined {
  try {
    return f();
  } catch (error) {
    if (error instanceof ConfigError || error instanceof ShapeError) return undefined;
    throw error;
  }
}

/** The block's first example as a mixer: an attention mechanism inside `multi_head`. */
function asMixer({ kind, blockName, definition }: AnyBlock, more: Config = {}): AnyModule {
  const example = { ...(definition.examples[0] as Config), ...more };
  const own = { name: blockName, ...example };
  if (kind === 'mixer') return zoo.parse('mixer', own) as unknown as AnyModule;
  const [n, width] = [Number(example.heads ?? heads), Number(example.headDim ?? dim / heads)];
  return zoo.parse('mixer', { name: 'multi_head', dim: n * width, heads: n, attention: own }) as unknown as AnyModule;
}

/** The model of a mixer that is called in one way, if it can be. */
function compiled(m: AnyModule, options: Partial<CompileOptions> = {}): Model | undefined {
  const width = m.about.config!.dim as number;
  const dims = options.layout === 'packed' ? ['tokens', width] : ['batch', 'seq', width];
  const inputs = {
    x: ['float32', dims],
    ...(options.layout === 'packed' && { lengths: ['int64', ['sequences']] }),
  } as CompileOptions['inputs'];
  return accepted(() => compile(m, { target: targets.portable(), inputs, ...options }));
}

/** The block with its option `causal`, if it has one that it accepts. */
const causalOf = (block: AnyBlock): AnyModule | undefined =>
  'causal' in block.fields ? accepted(() => asMixer(block, { causal: true })) : undefined;

const keepsSomething = (model: Model | undefined): boolean =>
  model?.signature.inputs.some(({ role }) => isPastRole(role)) ?? false;

function causalText(block: AnyBlock, m: AnyModule): string {
  if (compiled(causally(m))) return 'yes';
  return causalOf(block) ? 'option `causal`' : 'no';
}

function cacheText(block: AnyBlock, m: AnyModule): string {
  const state = { io: 17 };
  if (keepsSomething(compiled(causally(m), { state })) || keepsSomething(compiled(m, { state }))) return 'yes';
  const causal = causalOf(block);
  return causal && keepsSomething(compiled(causal, { state })) ? 'if causal' : 'no';
}

const isFixed = (f: Field | undefined): boolean => f !== undefined && !f.optional && f.default === undefined;

/** Whether it computes what softmax attention over all pairs does; of a mixer the question makes no sense. */
function exactText(block: AnyBlock): string {
  if (block.kind !== 'attention') return '–';
  const required = Object.entries(block.fields as Readonly<Record<string, Field>>).filter(([, f]) => isFixed(f));
  const example = block.definition.examples[0] as Config;
  const config = Object.fromEntries(required.flatMap(([name]) => (name in example ? [[name, example[name]]] : [])));
  const inputs = Object.fromEntries(
    ['q', 'k', 'v'].map((name) => [name, { dtype: 'float32', dims: [1, heads, 131, dim / heads] } as const]),
  );
  const outputOf = (given: Config) => {
    const m = zoo.parse('attention', { heads, ...given }) as unknown as AnyModule;
    const { traced } = compile(m, { target: targets.portable(), inputs: typesOf(inputs) });
    return Object.values(interpret(traced, feedsFor(inputs, {}), { parameters: randomParameters(m).of }))[0]!;
  };
  const own = accepted(() => outputOf({ name: block.blockName, ...config }));
  const exact = outputOf({ name: 'scaled_dot_product' });
  return yes(own?.data.every((x, i) => Math.abs(x - exact.data[i]!) < 1e-6) ?? false);
}

/** `time O(seq · dim), memory O(dim)`, up to what depends on the call. */
const costOf = (doc: Docstring | undefined): string =>
  (doc?.entries.get('Cost') ?? '').split(/; | without a mask|, without a mask/)[0]!;

/** A row for each attention mechanism and mixer. */
export function comparison(blocks: readonly AnyBlock[], docs: ReadonlyMap<string, Docstring>): readonly string[] {
  const rows = blocks.map((block) => {
    const m = asMixer(block);
    const cells = [
      `[\`${block.blockName}\`](#${block.blockName})`,
      exactText(block),
      costOf(docs.get(keyOf(block))),
      causalText(block, m),
      yes(isFixed(block.fields.seqLen as Field | undefined)),
      cacheText(block, m),
      yes(compiled(m, { layout: 'packed' }) !== undefined),
    ];
    return `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  return [
    '| mechanism | exact | cost | causal | fixed length | cache | packed |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
  ];
}
