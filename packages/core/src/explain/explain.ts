// What lowering decided for a model, block by block, and what its user could change.
import type { Model } from '../compile/compile';
import { ConfigError, describe, nearest } from '../error';
import { domainOf } from '../ir/define-op';
import { isPastRole, type Node, subgraphsOf } from '../ir/graph';
import type { Decision } from '../lower/lower';
import { dtypeOf, kernelOf, type Machine } from '../lower/target';
import { modulesOf } from '../module/module';
import { attentionKernel } from '../targets/attention-kernel';
import { type DType, isFloat } from '../tensor/tensor';
import { type AttentionForecast, forecast } from './forecast';
import { hintsFor } from './hints';
import { printPaths, shapeOf } from './places';

/** What was decided for one op in places that are alike. */
export interface ExplainedOp {
  /** The meaning, without its domain: `Attend`. */
  readonly op: string;
  /** The rule taken, `kept`, `decomposed`, or `float32`. */
  readonly chosen: string;
  /** The ops that stand there now, without those that only move data. */
  readonly kernels: readonly string[];
  readonly attention: readonly AttentionForecast[];
  readonly refused: readonly { readonly rule: string; readonly reason: string }[];
  /** What could be changed to reach something better. */
  readonly hints: readonly string[];
}

/** What was decided in one block, or in blocks that are alike. */
export interface ExplainedBlock {
  /** In one text: `stack.layers.0–23.mixer.attention`. */
  readonly place: string;
  readonly paths: readonly string[];
  /** Name of the block, where the place is one. */
  readonly block?: string;
  readonly ops: readonly ExplainedOp[];
}

/** What {@link explain} tells. */
export interface Explanation {
  readonly target: string;
  readonly dtype: DType;
  readonly computes: DType;
  readonly opset: number;
  readonly machine: Machine;
  /** What had to be assumed of the machine. */
  readonly assumed: readonly string[];
  readonly notes: readonly string[];
  readonly blocks: readonly ExplainedBlock[];
}

/** Options of {@link explain}. */
export interface ExplainOptions {
  /** Only blocks below this path. */
  readonly path?: string;
}

/**
 * Why a model looks as it does: for each block which kernels were chosen and which were refused for what reason, which attention kernel
 * ONNX Runtime will run on a GPU, what computes in another dtype than asked for, and what could be changed. Layers that are alike are
 * told once.
 *
 * Throws   ConfigError for a path that no module has
 *
 * Example  console.log(printExplanation(explain(model)));
 */
export function explain(model: Model, { path = '' }: ExplainOptions = {}): Explanation {
  const { target, machine, dtype, computes } = model;
  if (path) checkPath(path, model);
  const nodes = nodesWithin(model.graph.nodes);
  const below = (p: string): boolean => path === '' || p === path || p.startsWith(`${path}.`);
  return {
    target: target.name,
    dtype,
    computes,
    opset: target.opset,
    machine,
    assumed: assumptions(model),
    notes: [...dtypeNotes(model), ...(target.notes ?? []).filter((n) => appliesTo(n, computes)), ...besideNotes(model, nodes)],
    blocks: grouped(
      model,
      nodes,
      model.decisions.filter((d) => below(d.path) && worthTelling(d)),
    ),
  };
}

function checkPath(path: string, { module, decisions, traced }: Model): void {
  const modules = modulesOf(module).map((m) => m.path);
  const scopes = [...decisions.map((d) => d.path), ...nodesWithin(traced.nodes).map((n) => n.scope)];
  if ([...modules, ...scopes].some((p) => p === path || p.startsWith(`${path}.`))) return;
  const near = nearest(path, modules);
  throw new ConfigError({
    path: 'path',
    problem: 'the model has no module of this path',
    got: describe(path),
    hint: near ? `Did you mean "${near}"?` : `Its parts: ${Object.keys(module.children).join(', ')}`,
  });
}

// Definitions of our own meanings are the normal case; what has a kernel somewhere, or was refused one, is worth a line.
function worthTelling({ op, chosen, refused }: Decision): boolean {
  if (chosen === '') return false;
  const objections = refused.filter((r) => !isPreference(r.reason)).length;
  if (chosen === 'decomposed') return objections > 0 || domainOf(op)[0] === '';
  return chosen !== 'kept' || objections > 0;
}
// An op that is better off as it is lacks nothing.
const isPreference = (reason: string): boolean => reason.endsWith('itself is cheaper here');

function grouped(model: Model, nodes: readonly Node[], decisions: readonly Decision[]): ExplainedBlock[] {
  const blockNames = new Map(modulesOf(model.module).map(({ path, item }) => [path, item.about.blockName]));
  const attention = new Map<string, Node[]>();
  for (const n of nodes) if (attentionKernel(n, {})) attention.set(n.scope, [...(attention.get(n.scope) ?? []), n]);
  const byPath = new Map<string, ExplainedOp[]>();
  for (const d of decisions)
    byPath.set(d.path, [...(byPath.get(d.path) ?? []), explained(model, d, attention.get(d.path) ?? [])]);
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
    return { place: printPaths(paths) || 'model', paths, ...(block && { block }), ops };
  });
}

const withoutCalls = (path: string): string => path.replace(/@\d+/g, '');

function unique(ops: readonly ExplainedOp[]): ExplainedOp[] {
  const seen = new Map(ops.map((o) => [JSON.stringify(o), o]));
  return [...seen.values()];
}

const nameOfOp = (key: string): string => domainOf(key)[1];

function explained(model: Model, d: Decision, attention: readonly Node[]): ExplainedOp {
  const isAttention = nameOfOp(d.op) === 'Attend' || nameOfOp(d.op) === 'Attention';
  const forecasts = isAttention && model.target.name === 'cuda' ? forecast(model.machine, attention) : [];
  return {
    op: nameOfOp(d.op),
    chosen: d.chosen,
    kernels: [
      ...new Set(d.kernels.filter((key) => domainOf(key)[0] !== 'onnxformers' && !moves.has(nameOfOp(key))).map(nameOfOp)),
    ],
    attention: forecasts,
    refused: d.refused.filter((r) => r.rule !== d.chosen && !isPreference(r.reason)),
    hints: isAttention ? hintsFor(model, d, attention, forecasts) : [],
  };
}

// Ops that stand between kernels without computing.
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

function assumptions({ target, machine }: Model): string[] {
  if (target.name !== 'cuda') return [];
  return [
    ...(machine.sm === undefined ? ['the compute capability was not given: chosen for the newest GPUs'] : []),
    ...(machine.cudnn === undefined ? ['the version of cuDNN was not given: taken as recent (9.14)'] : []),
  ];
}

function dtypeNotes({ target, dtype, computes, parameterInputs, signature }: Model): string[] {
  const fed = [...parameterInputs].some((p) => (p.options.dtype ?? dtype) === 'bfloat16');
  const kept = signature.inputs.some((p) => p.dtype === 'float32' && isPastRole(p.role));
  return [
    ...(dtype === computes
      ? []
      : [`weights are stored in ${dtype} and widened to ${computes}: ${target.name} does not compute in ${dtype}`]),
    ...(fed ? ['parameters in bfloat16 that are inputs are fed in float32, since no JavaScript runtime carries bfloat16'] : []),
    ...(kept && computes === 'bfloat16'
      ? [
          'caches are fed and handed out in float32, since no JavaScript runtime carries bfloat16; state: { paged } keeps them in bfloat16',
        ]
      : []),
  ];
}

// A note that begins with a dtype is for models that compute in it.
const appliesTo = (note: string, computes: DType): boolean => {
  const [, about] = /^(float\d+|bfloat16): /.exec(note) ?? [];
  return about === undefined || about === computes;
};

function besideNotes({ target }: Model, nodes: readonly Node[]): string[] {
  const counts = new Map<string, number>();
  for (const node of nodes) {
    const dtype = dtypeOf(node);
    if (!dtype || !kernelOf(target, node.op)?.beside?.includes(dtype)) continue;
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
