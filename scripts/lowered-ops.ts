// What the examples of all blocks become on all targets.

import { serialize } from '../packages/core/src/compile/serialize';
import {
  type AnyBlock,
  type AnyModule,
  type CompileOptions,
  compile,
  kindOf,
  type Machine,
  type MaskKinds,
  type ModelDType,
  modulesOf,
  type Target,
  targets,
} from '../packages/core/src/index';
import { allNodes, blockPathKey } from '../packages/core/src/onnx/model';
import { type Example, exampleOf, typesOf, type Variant, variantsOf } from '../packages/core/src/testing/index';
import { zoo } from '../packages/onnxformers/src/index';

/** A target with a machine and a dtype. */
export interface Place {
  /** `cuda sm80`. */
  readonly name: string;
  /** What it is called together with the others of its kind, where all give the same: `cuda`. */
  readonly family: string;
  readonly target: Target;
  readonly machine?: Machine;
  readonly dtype: ModelDType;
}

const place = (target: Target, family = target.name): Place => ({ name: target.name, family, target, dtype: 'float32' });
const gpus: Readonly<Record<string, Machine>> = {
  ' of the newest': {},
  ' sm90': { sm: 90, cudnn: '9.14' },
  ' sm80': { sm: 80, cudnn: '9.14' },
};
const cuda = (dtype: ModelDType): Place[] => {
  const family = dtype === 'float32' ? 'cuda' : `cuda ${dtype}`;
  return Object.entries(gpus).map(([gpu, machine]) => ({ name: family + gpu, family, target: targets.cuda, machine, dtype }));
};

/** The places in the order in which they are written. */
export const places: readonly Place[] = [
  ...([18, 21, 23] as const).map((opset) => place(targets.portable(opset), 'portable')),
  ...[targets.cpu, targets.wasm, targets.webgpu].map((target) => place(target)),
  ...cuda('float32'),
  ...cuda('float16'),
];

/** One op of a lowered graph. */
export interface LoweredOp {
  /** `Softmax`, `com.microsoft.BiasGelu`. */
  readonly key: string;
  /** Kind and name of the innermost block that it comes from. */
  readonly block: string;
}

/** An example called in one way. */
export interface LoweredExample {
  readonly block: AnyBlock;
  readonly index: number;
  /** As given, without the name. */
  readonly config: Readonly<Record<string, unknown>>;
  /** `alone`, `lengths`, `causal`, … */
  readonly call: string;
  /** Kind and name of every block in it. */
  readonly parts: ReadonlySet<string>;
  /** By name of the place, those of subgraphs too. */
  readonly ops: ReadonlyMap<string, readonly LoweredOp[]>;
}

/** `attention linformer`. */
export const keyOf = ({ kind, blockName }: Pick<AnyBlock, 'kind' | 'blockName'>): string => `${kind} ${blockName}`;

/** Masks that a block honours as its first example has it. */
export function masksOf({ definition }: AnyBlock): MaskKinds | undefined {
  const { masks, examples } = definition;
  return typeof masks === 'function' ? masks(examples[0] ?? {}) : masks;
}

type Call = Pick<Variant, 'module' | 'inputs' | 'layout'> & { readonly name: string; readonly options?: Partial<CompileOptions> };

function callsOf(example: Example): readonly Call[] {
  const { block, properties, inputs } = example;
  // Others only hand a mask on.
  const { masks } = kindOf(example.module)!;
  const readsMasks = masks === 'pairs' || masks === 'byBlock';
  const variants = variantsOf(example).filter(({ name }) => !name || readsMasks);
  const calls = variants.map((variant): Call => ({ ...variant, name: variant.name || 'alone' }));
  const cached = block.kind === 'model' && properties.has('causal') && !('memory' in inputs);
  const options = { state: 'io', assumptions: ['prefill into empty cache'] } as const;
  return cached ? [...calls, { ...calls[0]!, name: 'with a cache', options }] : calls;
}

/** The block of the innermost module at a path; a second call of a module has a number behind its name. */
function blockAt(path: string, blocks: ReadonlyMap<string, string>): string {
  for (let at = path.replaceAll(/@\d+/g, ''); ; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const block = blocks.get(at);
    if (block !== undefined || at === '') return block ?? '';
  }
}

function blocksIn(module: AnyModule, root: AnyBlock): ReadonlyMap<string, string> {
  const named = modulesOf(module).flatMap(({ path, item: { kind, blockName } }) =>
    kind && blockName ? [[path, `${kind} ${blockName}`] as const] : [],
  );
  return new Map([...named, ['', keyOf(root)]]);
}

function loweredOps({ module, inputs, layout, options }: Call, at: Place, blocks: ReadonlyMap<string, string>): LoweredOp[] {
  const { target, machine, dtype } = at;
  const types = Object.entries(typesOf(inputs)).map(
    ([name, [given, dims]]) => [name, [given === 'float32' ? dtype : given, dims]] as const,
  );
  const model = compile(module, {
    target,
    dtype,
    layout,
    ...(machine && { machine }),
    inputs: Object.fromEntries(types),
    ...options,
  });
  return [...allNodes(serialize(model).graph)].map(({ opType, domain, metadata }) => ({
    key: domain ? `${domain}.${opType}` : opType,
    block: blockAt(metadata?.[blockPathKey] ?? '', blocks),
  }));
}

function lowered(block: AnyBlock, index: number): LoweredExample[] {
  const example = exampleOf(block, index, zoo);
  const { name: _, ...config } = example.given;
  const blocks = blocksIn(example.module, block);
  return callsOf(example).map((call) => ({
    block,
    index,
    config,
    call: call.name,
    parts: new Set(blocks.values()),
    ops: new Map(places.map((at) => [at.name, loweredOps(call, at, blocks)])),
  }));
}

let all: readonly LoweredExample[] | undefined;

/** Every example of the assembled registry, lowered for every place; computed once. */
export function loweredExamples(): readonly LoweredExample[] {
  all ??= (zoo.blocks as readonly AnyBlock[]).flatMap((block) =>
    block.definition.examples.flatMap((_: unknown, index: number) => lowered(block, index)),
  );
  return all;
}
