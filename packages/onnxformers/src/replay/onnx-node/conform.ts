// Runs a node case in three ways and compares each with the expected outputs of the standard.
import {
  castTensor,
  compile,
  createRunner,
  GraphBuilder,
  interpret,
  isFloat,
  LoweringError,
  module,
  type NDArray,
  type Ort,
  ShapeError,
  type Target,
  type Tensor,
  toArray,
  type Value,
} from '@onnxformers/core';
import type { Op } from '@onnxformers/core/lowering';
import { Attend } from '@onnxformers/core/ops';
import { compare, printComparison, type Tolerance } from '@onnxformers/core/testing';
import { emitFlexAttention, isFlexAttention, unknownFunction } from './flex-attention';
import type { NodeCase, ReadCase } from './node-case';
import { emit, opOf, unreadable } from './vocabulary';

/** The ways: the op's reference, its definition in smaller ops, the lowered graph on a runtime. */
export const ways = ['evaluate', 'decompose', 'runtime'] as const;
/** One of {@link ways}. */
export type Way = (typeof ways)[number];

/** The result of one case. */
export interface NodeOutcome {
  readonly id: string;
  readonly op: string;
  readonly result: 'passed' | 'failed' | 'left out';
  /** The result of each way: true, the reason why it failed, or undefined if the case has no such way. */
  readonly ways: Readonly<Partial<Record<Way, true | string>>>;
  /** Largest difference, over all ways that passed. */
  readonly error?: number;
  /** Why the case was skipped, or which outputs were not compared. */
  readonly note?: string;
}

/** A target and its runtime. */
export interface Device {
  readonly target: Target;
  readonly ort: Ort;
}

// Those of the standard's own test runner, for the shortest of the dtypes involved. But never less than 4 ulp of the largest element,
// because elements near 0 can be sums of large ones.
const tolerances: Readonly<Record<string, { readonly rtol: number; readonly atol: number; readonly ulp: number }>> = {
  float16: { rtol: 1e-2, atol: 1e-3, ulp: 2 ** -10 },
  bfloat16: { rtol: 5e-2, atol: 1e-2, ulp: 2 ** -7 },
  other: { rtol: 1e-3, atol: 1e-7, ulp: 2 ** -23 },
};

function toleranceFor(c: NodeCase, { dtype, data }: NDArray): Tolerance {
  if (!isFloat(dtype)) return { rtol: 0, atol: 0 };
  const dtypes = [...c.inputs.values(), ...c.outputs.values()].map(({ dtype }) => dtype);
  const { rtol, atol, ulp } = tolerances[dtypes.find((d) => d in tolerances) ?? 'other']!;
  const largest = data.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
  return { rtol, atol: Math.max(atol, 4 * ulp * largest), equalNaN: true };
}

/** The newest opset that onnxruntime 1.29 and 1.30 load. */
const newestOpset = 26;

/** Runs one case. Never throws. */
export async function conform(c: ReadCase, device: Device): Promise<NodeOutcome> {
  if ('unreadable' in c) return { id: c.id, op: '?', result: 'left out', ways: {}, note: c.unreadable };
  if ('damaged' in c) return { id: c.id, op: '?', result: 'failed', ways: {}, note: c.damaged };
  const { node, opset, id } = c;
  const about = { id, op: `${node.domain ? `${node.domain}.` : ''}${node.opType}` };
  const leftOut = (note: string): NodeOutcome => ({ ...about, result: 'left out', ways: {}, note });
  const flex = isFlexAttention(node);
  const op = flex ? (Attend as unknown as Op) : opOf(node, opset);
  if (node.domain === '' && opset > newestOpset && op) return leftOut(`runtimes do not accept opset ${opset} yet`);
  if (!op) return leftOut(`${about.op} of opset ${opset} is not in the vocabulary`);
  const why = flex ? unknownFunction(node) : unreadable(op, node);
  if (why) return leftOut(why);
  if ((op.since ?? 1) > device.target.opset && !op.decompose)
    return leftOut(`${device.target.name} stops at opset ${device.target.opset}`);

  const result: Partial<Record<Way, true | string>> = {};
  let error = 0;
  const notes: string[] = [];
  let missing: readonly string[] = [];
  for (const way of ways) {
    if (way === 'decompose' && !op.decompose) continue;
    try {
      const outputs = await run[way](c, op, device);
      missing = [...c.outputs.keys()].filter((name) => !(name in outputs));
      const compared = compareAll(c, outputs);
      result[way] = compared.problem ?? true;
      if (!compared.problem) error = Math.max(error, compared.error);
    } catch (fault) {
      if (fault instanceof ShapeError && fault.problem.startsWith('wrong dtype'))
        return leftOut(`our op takes other dtypes: ${fault.message}`);
      if (fault instanceof LoweringError) notes.push(`not run: ${fault.problem}`);
      else result[way] = fault instanceof Error ? fault.message : String(fault);
    }
  }
  if (missing.length) notes.push(`not compared, since our op has no such outputs: ${missing.join(', ')}`);
  const failed = Object.values(result).some((r) => r !== true) || missing.length === c.outputs.size;
  return { ...about, result: failed ? 'failed' : 'passed', ways: result, error, ...(notes.length && { note: notes.join('; ') }) };
}

type Outputs = Readonly<Record<string, Tensor | NDArray>>;

const run: Readonly<Record<Way, (c: NodeCase, op: Op, device: Device) => Outputs | Promise<Outputs>>> = {
  evaluate: (c, op) => interpreted(c, op, 'evaluate'),
  decompose: (c, op) => interpreted(c, op, 'decompose'),
  async runtime(c, op, { target, ort }) {
    // bfloat16 inputs and outputs are float32.
    const feeds = new Map([...c.inputs].map(([name, t]) => [name, t.dtype === 'bfloat16' ? castTensor(t, 'float32') : t]));
    const inputs = Object.fromEntries([...feeds].map(([name, { dtype, dims }]) => [name, [dtype, dims]] as const));
    const model = module({}, (values: Readonly<Record<string, Value>>) => emitted(c, op, (name) => values[name]));
    const dtype = (['float16', 'bfloat16'] as const).find((d) => [...c.inputs.values()].some((t) => t.dtype === d)) ?? 'float32';
    // The runtime's own kernel is tested, also if a target would compute in float32.
    const strictDtype = dtype === 'float16';
    const runner = await createRunner(compile(model, { target, inputs, weights: new Map(), dtype, strictDtype }), ort);
    try {
      const used = new Set(runner.signature.inputs.map(({ name }) => name));
      return await runner(Object.fromEntries([...feeds].filter(([name]) => used.has(name))));
    } finally {
      await runner.dispose();
    }
  },
};

const emitted = (c: NodeCase, op: Op, value: (name: string) => Value | undefined) =>
  isFlexAttention(c.node) ? emitFlexAttention(c, value) : emit(op, c.node, c.opset, value, (name) => c.inputs.get(name));

function interpreted(c: NodeCase, op: Op, prefer: 'evaluate' | 'decompose'): Outputs {
  const g = new GraphBuilder();
  const values = new Map([...c.inputs].map(([name, { dtype, dims }]) => [name, g.input(name, dtype, dims)]));
  for (const [name, v] of Object.entries(emitted(c, op, (name) => values.get(name)))) g.output(name, v);
  const graph = g.finish();
  const feeds = Object.fromEntries([...c.inputs].map(([name, t]) => [name, toArray(t)]));
  return interpret(graph, feeds, { prefer });
}

function compareAll(c: NodeCase, outputs: Outputs): { readonly error: number; readonly problem?: string } {
  let error = 0;
  for (const [name, expected] of c.outputs) {
    const actual = outputs[name];
    if (!actual) continue;
    // A model computes float64 tests of the standard in float32, and its bfloat16 outputs are float32.
    const other = expected.dtype === 'float64' || expected.dtype === 'bfloat16';
    const alike = actual.dtype === 'float32' && other ? { ...toArray(actual), dtype: expected.dtype } : actual;
    const compared = compare(alike, expected, toleranceFor(c, toArray(expected)));
    if (!compared.close) return { error: compared.error, problem: `${name}: ${printComparison(compared)}` };
    error = Math.max(error, compared.error);
  }
  return { error };
}

/** Counts outcomes. */
export function totalsOf(outcomes: readonly NodeOutcome[]) {
  const count = (result: NodeOutcome['result']) => outcomes.filter((o) => o.result === result).length;
  return { passed: count('passed'), failed: count('failed'), leftOut: count('left out') };
}
