// The decisions of lowering for a model, block by block, and what its user could change.
import { checkArguments } from '../arguments';
import type { Model } from '../compile/compile';
import { ConfigError, describe, nearest } from '../error';
import { domainOf } from '../ir/define-op';
import { isPastRole, type Node, subgraphsOf } from '../ir/graph';
import { sizesLeadingTo } from '../lower/branches';
import type { Decision, Rejected } from '../lower/decision';
import { dtypeOf } from '../lower/dtype-of';
import type { Reason } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Forecast, kernelOf, type Machine, type Target } from '../lower/target';
import { documentsMask } from '../mask/documents';
import { type Mask, masksIn } from '../mask/mask';
import { modulesOf } from '../module/module';
import { clearedInputsOf, finitePadding } from '../sequence/padding';
import { type DType, isFloat } from '../tensor/tensor';
import { isBelow, printPaths, rootPlace, shapeOf } from './places';

/** The decision for one op, or for equal ops in repeated layers. */
export interface ExplainedOp {
  /** Name of the traced op, without its domain: `Attend`. */
  readonly op: string;
  /** In a branch selected by sizes: the sizes for which it runs, `seq <= 32`. */
  readonly where?: string;
  /** The rule taken, `kept`, `decomposed`, or `float32`. */
  readonly chosen: string;
  /** The variant of the rule, if it has several. */
  readonly variant?: string;
  /** The ops after lowering, without those that only move data. */
  readonly kernels: readonly string[];
  /** The kernels that the runtime will run for those ops, if the target can predict them. */
  readonly runs: readonly Forecast[];
  /** Notes about the chosen ops. */
  readonly notes: readonly Reason[];
  readonly refused: readonly Rejected[];
  /** Changes of the model or the options that would allow a better choice. */
  readonly hints: readonly Reason[];
}

/** The decisions in one block, or in repeated equal blocks. */
export interface ExplainedBlock {
  /** The paths as one text: `stack.layers.0–23.mixer.attention`. */
  readonly place: string;
  readonly paths: readonly string[];
  /** Name of the block, if the path is that of a block. */
  readonly block?: string;
  readonly ops: readonly ExplainedOp[];
}

/** The result of {@link explain}. */
export interface Explanation {
  readonly target: string;
  readonly dtype: DType;
  readonly computes: DType;
  readonly opset: number;
  readonly machine: Machine;
  /** Assumptions about the machine. */
  readonly assumed: readonly string[];
  readonly notes: readonly string[];
  readonly blocks: readonly ExplainedBlock[];
}

/** Options of {@link explain}. */
export interface ExplainOptions {
  /** Only blocks at this path and below: `stack.layers.0`, or paths as they are printed: `stack.layers.0–2.mixer`. */
  readonly path?: string;
}

/**
 * Explains the lowering of a model: for each block the kernels that were chosen, those that were refused and why, the attention kernel that
 * ONNX Runtime will run on a GPU, what computes in another dtype than requested, and what could be changed. Equal layers are
 * printed once.
 *
 * Throws   ConfigError for a path that no module has
 *
 * Example  console.log(printExplanation(explain(model)));
 */
export function explain(model: Model, options: ExplainOptions = {}): Explanation {
  checkArguments('explain', { model, 'options?': options });
  const { path = '' } = options;
  const { target, machine, dtype, computes } = model;
  if (path) checkPath(path, model);
  const nodes = nodesWithin(model.graph.nodes);
  const below = isBelow(path);
  return {
    target: target.name,
    dtype,
    computes,
    opset: target.opset,
    machine,
    assumed: (target.assumed?.(machine) ?? []).map(({ text }) => text),
    notes: [
      ...dtypeNotes(model),
      ...paddingNotes(model),
      ...(target.notes ?? []).filter((n) => n.computes === undefined || n.computes === computes).map(({ text }) => text),
      ...besideNotes(model, nodes),
    ],
    blocks: grouped(
      model,
      nodes,
      [...model.decisions.filter(worthTelling), ...keptKernels(model)].filter((d) => below(d.path)),
    ),
  };
}

// Kernels that the user's own code calls are kept as they are, so they are not decisions. They are listed if the target predicts what they run.
function keptKernels({ target, machine, traced, decisions }: Model): readonly Decision[] {
  const known = new Set(decisions.map(({ path, op }) => `${path} ${op}`));
  return nodesWithin(traced.nodes)
    .filter((node) => !known.has(`${node.scope} ${node.op.key}`) && target.forecast?.([node], machine).length)
    .map(({ scope, op: { key } }) => ({ path: scope, op: key, chosen: 'kept', kernels: [key], notes: [], refused: [] }));
}

function checkPath(path: string, { module, decisions, traced }: Model): void {
  const ran = [...decisions.map((d) => d.path), ...nodesWithin(traced.nodes).map((n) => n.scope)];
  if ([...ran, ...modulesOf(module).map((m) => m.path)].some(isBelow(path))) return;
  const parts = new Set(ran.flatMap((scope) => scope.split('.').map((_, i, all) => all.slice(0, i + 1).join('.'))));
  parts.delete('');
  const near = nearest(path, [...parts]);
  const first = [...parts].filter((p) => !p.includes('.'));
  throw new ConfigError({
    path: 'path',
    problem: 'the model has no module of this path',
    got: describe(path),
    hint: near ? `Did you mean "${near}"?` : `Its parts: ${first.join(', ')}`,
  });
}

// Decomposing one of the library's own ops is the normal case. An op that has a kernel on some target, or was refused one, is reported.
function worthTelling({ op, chosen, notes, refused }: Decision): boolean {
  if (chosen === '') return false;
  if (chosen === 'empty') return domainOf(op)[0] !== '' && !moves.has(nameOfOp(op));
  const objections = refused.filter((r) => !isPreference(r)).length;
  if (chosen === 'decomposed') return objections > 0 || notes.length > 0 || domainOf(op)[0] === '';
  return chosen !== 'kept' || objections > 0;
}
// No hint for a kernel that could run but lost to a better one.
const isPreference = ({ reason }: Rejected): boolean =>
  [reasons.keptIsCheaper, reasons.costsMore, reasons.lost].some((of) => of.is(reason));

function grouped(model: Model, nodes: readonly Node[], decisions: readonly Decision[]): ExplainedBlock[] {
  const blockNames = new Map(modulesOf(model.module).map(({ path, item }) => [path, item.about.blockName]));
  const nodesAt = new Map<string, Node[]>();
  const where = sizesLeadingTo(model.graph);
  for (const n of nodes) nodesAt.set(n.scope, [...(nodesAt.get(n.scope) ?? []), n]);
  const packed = new Set(nodesWithin(model.traced.nodes).flatMap((n) => (isPacked(n) ? [n.scope] : [])));
  const byPath = new Map<string, ExplainedOp[]>();
  for (const d of decisions) {
    // A node of a branch may have been moved before it.
    const there = (nodesAt.get(d.path) ?? []).filter((n) => [undefined, d.where].includes(where.get(n)));
    byPath.set(d.path, [...(byPath.get(d.path) ?? []), explained(model, d, there, packed.has(d.path))]);
  }
  const places = new Map<string, number>();
  nodesWithin(model.traced.nodes).forEach(({ scope }, i) => {
    if (!places.has(scope)) places.set(scope, i);
  });
  const inOrder = [...byPath].sort(([a], [b]) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
  const alike = new Map<string, { paths: string[]; ops: readonly ExplainedOp[] }>();
  for (const [path, ops] of inOrder) {
    const distinct = unique(ops);
    const key = `${shapeOf(path)} ${blockNames.get(withoutCalls(path))} ${JSON.stringify(distinct)}`;
    const group = alike.get(key);
    if (group) group.paths.push(path);
    else alike.set(key, { paths: [path], ops: distinct });
  }
  return [...alike.values()].map(({ paths, ops }): ExplainedBlock => {
    const block = blockNames.get(withoutCalls(paths[0]!));
    return { place: printPaths(paths) || rootPlace, paths, ...(block && { block }), ops };
  });
}

// Packed sequences attend under a mask of their documents, which a rule may have replaced.
const isPacked = ({ attrs }: Node): boolean =>
  attrs.mask !== undefined && masksIn(attrs.mask as Mask<unknown>).some((m) => m.class === documentsMask.class);

const withoutCalls = (path: string): string => path.replace(/@\d+/g, '');

function unique(ops: readonly ExplainedOp[]): ExplainedOp[] {
  const seen = new Map(ops.map((o) => [JSON.stringify(o), o]));
  return [...seen.values()];
}

const nameOfOp = (key: string): string => domainOf(key)[1];

function explained({ target, machine, computes }: Model, d: Decision, nodes: readonly Node[], packed: boolean): ExplainedOp {
  const runs = target.forecast?.(
    nodes.filter((n) => d.kernels.includes(n.op.key)),
    machine,
  );
  return {
    op: nameOfOp(d.op),
    ...(d.where !== undefined && { where: d.where }),
    chosen: d.chosen,
    ...(d.variant && { variant: d.variant }),
    kernels: [
      ...new Set(d.kernels.filter((key) => domainOf(key)[0] !== 'onnxformers' && !moves.has(nameOfOp(key))).map(nameOfOp)),
    ],
    runs: runs ?? [],
    notes: d.notes,
    refused: d.refused.filter((r) => !reasons.keptIsCheaper.is(r.reason)),
    hints: target.advise?.({ decision: d, forecasts: runs ?? [], computes, packed }) ?? [],
  };
}

// Ops between kernels that move data without computing.
const moves = new Set([
  'Reshape',
  'Transpose',
  'Cast',
  'Expand',
  'Concat',
  'Slice',
  'Unsqueeze',
  'Squeeze',
  'Shape',
  'Size',
  'Identity',
  'Gather',
]);

const whyWidened = ({ name, widens }: Target, dtype: DType): string =>
  widens?.includes(dtype)
    ? `${name} is slower in ${dtype}; strictDtype computes in it all the same`
    : `${name} does not compute in ${dtype}`;

function dtypeNotes({ target, dtype, computes, parameterInputs, signature }: Model): string[] {
  const fed = [...parameterInputs].some((p) => (p.options.dtype ?? dtype) === 'bfloat16');
  const kept = signature.inputs.some((p) => p.dtype === 'float32' && isPastRole(p.role));
  return [
    ...(dtype === computes ? [] : [`weights are stored in ${dtype} and widened to ${computes}: ${whyWidened(target, dtype)}`]),
    ...(fed ? ['parameters in bfloat16 that are inputs are fed in float32, since no JavaScript runtime supports bfloat16'] : []),
    ...(kept && computes === 'bfloat16'
      ? [
          'caches are inputs and outputs in float32, because no JavaScript runtime supports bfloat16; state: { paged } keeps them in bfloat16',
        ]
      : []),
  ];
}

function paddingNotes({ traced }: Model): string[] {
  const names = clearedInputsOf(traced);
  if (!names.length) return [];
  return [
    `padded positions of ${names.join(', ')} are set to 0, whatever they contain; assumptions: ['${finitePadding}'] leaves this out if they are always finite`,
  ];
}

function besideNotes({ target }: Model, nodes: readonly Node[]): string[] {
  const counts = new Map<string, number>();
  for (const node of nodes) {
    const dtype = dtypeOf(node);
    if (!dtype || !kernelOf(target, node)?.onCpu?.includes(dtype)) continue;
    const name = isFloat(dtype) ? `${nameOfOp(node.op.key)} of ${dtype}` : nameOfOp(node.op.key);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  if (!counts.size) return [];
  const list = [...counts].map(([name, count]) => (count > 1 ? `${name} ×${count}` : name));
  return [`${target.name} leaves to the CPU, on sizes, positions and masks: ${list.join(', ')}`];
}

/** All nodes, those of subgraphs too. */
export const nodesWithin = (nodes: readonly Node[]): Node[] =>
  nodes.flatMap((n) => [...subgraphsOf(n).flatMap(([, g]) => nodesWithin(g.nodes)), n]);
