// The modules of a model and their costs: parameters, operations, memory.
import { checkArguments } from '../arguments';
import type { Model } from '../compile/compile';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { ConfigError, describe, nearest } from '../error';
import { atMost } from '../ir/graph';
import { type AnyModule, modulesOf } from '../module/module';
import { foldable } from '../onnx/fold';
import { memoryDim, pastDim } from '../sequence/io-state';
import { bytesOf, countOf } from '../tensor/tensor';
import { flopsOf, type SizeOf } from './flops';
import { bytesOfValue, peakOf } from './memory';

/** A module of the tree; its numbers include those of its children. */
export interface SummaryRow {
  /** Path of the module; '' for the model itself. */
  readonly path: string;
  /** The path below the parent. */
  readonly name: string;
  readonly block?: string;
  /** Number of elements in the checkpoint; a tied weight is counted at its first place. */
  readonly parameters: number;
  /** Of these, the trainable ones. */
  readonly trainable: number;
  /** Bytes of the parameters, as they are stored. */
  readonly bytes: number;
  /** Floating-point operations of one run. */
  readonly flops: number;
  readonly children: readonly SummaryRow[];
}

/** The result of {@link summary}. */
export interface Summary {
  readonly sizes: Readonly<Record<string, number>>;
  readonly root: SummaryRow;
  /** In bytes. */
  readonly memory: {
    readonly weights: number;
    readonly inputs: number;
    readonly outputs: number;
    /** Activation memory: the most that intermediate results and outputs take at one time. The workspace of kernels is not included. */
    readonly activations: number;
  };
}

interface Own {
  parameters: number;
  trainable: number;
  bytes: number;
  flops: number;
}

/**
 * Parameters, FLOPs (floating-point operations of one run) and memory of a model, as a tree of its modules, for given sizes. FLOPs are counted on
 * the traced graph, so they are the same on every target. A multiply-add is two. Pairs that masks of positions (causal, windows)
 * exclude are not counted. An If counts the branch that these sizes take, and integer arithmetic is not counted. Memory, with the activations at their
 * peak, is that of the lowered graph.
 *
 * Throws   ConfigError for a size that is missing, unknown or not a natural number
 *
 * Example  console.log(printSummary(summary(model, { batch: 2, seq: 128 })));
 */
export function summary(model: Model, sizes: Readonly<Record<string, number>> = {}): Summary {
  checkArguments('summary', { model, 'sizes?': sizes });
  const bound = checkedSizes(model, sizes);
  const size: SizeOf = (d: Dim) => {
    const most = atMost(d, model.graph.builder);
    return namesOfDim(most).every((n) => n in bound) ? evaluateDim(most, bound) : 0;
  };
  const modules = modulesOf(model.module);
  const own = new Map(modules.map(({ path }): [string, Own] => [path, { parameters: 0, trainable: 0, bytes: 0, flops: 0 }]));
  const pathOf = new Map(modules.map(({ path, item }) => [item, path] as const));
  for (const [name, p] of model.names.parameters) {
    const row = own.get(pathOf.get(model.names.owners.get(name) as AnyModule) ?? '')!;
    const count = countOf(p.dims);
    row.parameters += count;
    if (p.options.trainable !== false) row.trainable += count;
    row.bytes += bytesOf(p.options.dtype ?? model.dtype, count);
  }
  for (const node of model.traced.nodes) own.get(nearestModule(node.scope, own))!.flops += flopsOf(node, size);
  const root = rowsOf(model, own);
  const folded = foldable(model.graph, model.parameterInputs);
  const sum = (values: readonly { readonly dtype: string; readonly dims: readonly Dim[] }[]): number =>
    values.reduce((n, v) => n + bytesOfValue(v as never, size), 0);
  return {
    sizes: bound,
    root,
    memory: {
      weights: root.bytes,
      inputs: sum(model.signature.inputs.filter((p) => !p.parameter)),
      outputs: sum(model.signature.outputs),
      activations: peakOf(model.graph, size, (v) => folded.has(v)),
    },
  };
}

// The number of a call is not part of a module's path. Nodes made outside of modules belong to the module around them.
function nearestModule(scope: string, known: ReadonlyMap<string, unknown>): string {
  const segments = scope.replace(/@\d+/g, '').split('.');
  for (let n = segments.length; n > 0; n--) {
    const path = segments.slice(0, n).join('.');
    if (known.has(path)) return path;
  }
  return '';
}

function rowsOf(model: Model, own: ReadonlyMap<string, Own>): SummaryRow {
  const children = new Map<string, SummaryRow[]>();
  let root: SummaryRow | undefined;
  // Children come after their parents.
  for (const { path, item } of [...modulesOf(model.module)].reverse()) {
    const below = children.get(path) ?? [];
    const parent = path === '' ? undefined : nearestModule(path.slice(0, Math.max(0, path.lastIndexOf('.'))), own);
    const mine = own.get(path)!;
    const total = (of: keyof Own): number => below.reduce((n, c) => n + c[of], mine[of]);
    const { blockName } = item.about;
    const row: SummaryRow = {
      path,
      name: parent ? path.slice(parent.length + 1) : path,
      ...(blockName && { block: blockName }),
      parameters: total('parameters'),
      trainable: total('trainable'),
      bytes: total('bytes'),
      flops: total('flops'),
      children: below,
    };
    if (parent === undefined) root = row;
    else children.set(parent, [row, ...(children.get(parent) ?? [])]);
  }
  return root!;
}

// Size names that the user must set; the size of a cache is 0 before the first call.
function checkedSizes(model: Model, sizes: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const given = model.signature.inputs.filter((p) => !p.derived && !p.parameter);
  const needed = [...new Set(given.flatMap((p) => p.dims.flatMap(namesOfDim)))];
  const bound: Record<string, number> = { [pastDim]: 0, [memoryDim]: 0, ...sizes };
  for (const [name, n] of Object.entries(sizes)) {
    if (!needed.includes(name) && name !== pastDim && name !== memoryDim) {
      const near = nearest(name, needed);
      throw new ConfigError({
        path: `sizes.${name}`,
        problem: 'the model has no size of this name',
        expected: needed.join(', ') || 'no sizes',
        ...(near && { hint: `Did you mean "${near}"?` }),
      });
    }
    if (!Number.isInteger(n) || n < 0)
      throw new ConfigError({
        path: `sizes.${name}`,
        problem: 'not a size',
        expected: 'an integer of at least 0',
        got: describe(n),
      });
  }
  const missing = needed.filter((name) => !(name in bound));
  if (missing.length)
    throw new ConfigError({
      path: 'sizes',
      problem: `the size of ${missing.join(' and ')} is missing`,
      expected: `{ ${needed.map((n) => `${n}: 128`).join(', ')} }`,
      got: Object.keys(sizes).join(', ') || 'nothing',
    });
  return Object.fromEntries(Object.entries(bound).filter(([name]) => needed.includes(name)));
}
