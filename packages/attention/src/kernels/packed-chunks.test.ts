// Packed sequences in chunks: the numbers of each sequence alone, and no keys of other sequences than those of a chunk.
import {
  and,
  causal,
  compile,
  createRunner,
  documents,
  evaluateDim,
  type InputType,
  interpret,
  keyLengths,
  type Mask,
  module,
  type NDArray,
  type Node,
  none,
  not,
  prefix,
  slidingWindow,
  type Target,
  targets,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { derive, lower, nameOf, packedChunksOf, usePackedChunks } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { computeDerived, expectClose, randomArray } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { kernels } from './index';
import { runtimes } from './runtimes.test-helper';

const divided: readonly Target[] = [targets.cpu, targets.wasm, targets.portable(21)];
type Inputs = Readonly<Record<string, Value>>;
interface Case {
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly mask?: (i: Inputs) => Mask<Value>;
  readonly more?: (i: Inputs) => Partial<ops.AttendOpOptions>;
  readonly memory?: true;
}
const [width, valueWidth] = [5, 3];
const cases: Readonly<Record<string, Case>> = {
  bidirectional: {},
  causal: { mask: () => causal },
  'with shared key heads': { heads: 6, kvHeads: 2, mask: () => causal },
  'with lengths': { mask: (i) => keyLengths(i.data!) },
  'with a prefix': { mask: (i) => prefix(i.data!) },
  'under what is not causal': { mask: () => not(causal) },
  'with sinks and a softcap': { more: (i) => ({ sinks: i.sinks!, softcap: 1.5, scale: 0.7 }) },
  'of a memory': { memory: true },
};

function attentionOf({ heads = 2, kvHeads = heads, mask = () => none, more, memory }: Case) {
  const offsetsOf = (lengths: Value, sizes: string): Value =>
    derive(lengths.graph.root, 'offsets', { dtype: 'int64', dims: [sizes] }, [lengths]);
  const m = module({}, (i: Inputs) => {
    const own = offsetsOf(i.lengths!, 'sequences + 1');
    const theirs = memory ? offsetsOf(i.memory_lengths!, 'sequences + 1') : own;
    return { y: ops.attendOp(i.q!, i.k!, i.v!, { mask: and(documents(own, theirs), mask(i)), ...more?.(i) }) };
  });
  const keys = memory ? 'memory' : 'tokens';
  const inputs: Readonly<Record<string, InputType>> = {
    q: ['float32', [1, heads, 'tokens', width]],
    k: ['float32', [1, kvHeads, keys, width]],
    v: ['float32', [1, kvHeads, keys, valueWidth]],
    lengths: ['int64', ['sequences'], 'data'],
    memory_lengths: ['int64', ['sequences'], 'data'],
    data: ['int64', ['sequences'], 'data'],
    sinks: ['float32', [heads], 'data'],
  };
  const used = ['q', 'k', 'v', 'lengths'].concat(
    memory ? 'memory_lengths' : [],
    /i\.data/.test(String(mask)) ? 'data' : [],
    /i\.sinks/.test(String(more)) ? 'sinks' : [],
  );
  return { m, heads, kvHeads, keys, inputs: Object.fromEntries(used.map((name) => [name, inputs[name]!])) };
}

const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
function feedsOf({ inputs, heads, kvHeads, keys }: ReturnType<typeof attentionOf>, lengths: readonly number[]) {
  const ofMemory = lengths.map((n) => (n === 0 ? 3 : n % 7));
  const tokens = { tokens: sum(lengths), memory: sum(ofMemory) };
  const int64 = (data: readonly number[]): NDArray => ({ dtype: 'int64', dims: [data.length], data: Float64Array.from(data) });
  const all: Readonly<Record<string, NDArray>> = {
    q: randomArray('q', [1, heads, tokens.tokens, width]),
    k: randomArray('k', [1, kvHeads, tokens[keys as 'tokens'], width]),
    v: randomArray('v', [1, kvHeads, tokens[keys as 'tokens'], valueWidth]),
    lengths: int64(lengths),
    memory_lengths: int64(ofMemory),
    data: int64(lengths.map((n) => Math.floor(n / 2))),
    sinks: randomArray('sinks', [heads]),
  };
  return Object.fromEntries(Object.keys(inputs).map((name) => [name, all[name]!]));
}

/** The numbers of keys of the attentions that run, after a comparison with the traced graph. */
function keysOf(c: Case, target: Target, rows: number, lengths: readonly number[]): readonly number[] {
  const made = attentionOf(c);
  const { traced } = compile(made.m, { target, inputs: made.inputs });
  const rules = [...kernels, packedChunksOf(rows)];
  const { graph, decisions } = lower(traced, target, { rules });
  expect(decisions.map((d) => d.chosen)).toContain(usePackedChunks.name);
  const feeds: Record<string, NDArray> = { ...feedsOf(made, lengths) };
  const expected = interpret(traced, withDerived(traced.inputs, feeds));
  const keys: number[] = [];
  const wrapNode = (
    { op, attrs }: Node,
    operands: readonly (NDArray | undefined)[],
    compute: (operands: readonly (NDArray | undefined)[]) => readonly NDArray[],
  ) => {
    const results = compute(operands);
    if (op === ops.SliceBetween && attrs.axis === 1 && results[0]!.dims.at(-1) === valueWidth) keys.push(results[0]!.dims[1]!);
    return results;
  };
  const got = interpret(graph, withDerived(graph.inputs, feeds), { wrapNode });
  expectClose(got.y!, expected.y!, { atol: 1e-6, rtol: 1e-6 });
  return keys;
}

function withDerived(inputs: readonly Value[], feeds: Readonly<Record<string, NDArray>>): Record<string, NDArray> {
  const all: Record<string, NDArray> = { ...feeds };
  for (const v of inputs) {
    if (v.leaf?.kind !== 'derived') continue;
    const from = v.leaf.from.map((f) => all[nameOf(f)!]!);
    all[v.leaf.name] = computeDerived(
      v.leaf.how,
      from,
      (d) => evaluateDim(d, { sequences: feeds.lengths!.dims[0]! }),
      v,
      v.leaf.plus,
    )!;
  }
  return all;
}

describe.each(divided.map((target) => [target.name, target] as const))('on %s', (_, target) => {
  it.each(Object.entries(cases))('chunks of packed sequences, %s', (name, c) => {
    const keys = keysOf(c, target, 3, [23, 0, 2, 1, 11, 5]);
    // 42 tokens in 14 chunks, of which none has keys of more sequences than it has queries of.
    expect(keys).toHaveLength(14);
    if (name === 'bidirectional') expect(keys).toEqual([23, 23, 23, 23, 23, 23, 23, 25, 14, 11, 11, 11, 16, 5]);
    if (name === 'causal') expect(keys).toEqual([3, 6, 9, 12, 15, 18, 21, 24, 4, 4, 7, 10, 13, 5]);
  });

  it('similar sequences are padded, because chunks would compute more', () => {
    expect(keysOf({}, target, 3, [7, 7, 5, 6])).toEqual([]);
    expect(keysOf({}, target, 128, [23, 0, 2, 1, 11, 5])).toEqual([]);
  });

  it.each(['causal', 'with shared key heads', 'with sinks and a softcap', 'of a memory'])('in a run, %s', async (name) => {
    const lengths = [503, 0, 2, 31, 1, 211];
    const made = attentionOf(cases[name]!);
    const model = compile(made.m, { target, rules: kernels, inputs: made.inputs });
    const feeds = feedsOf(made, lengths);
    const { y } = interpret(model.traced, withDerived(model.traced.inputs, feeds));
    const run = await createRunner(model, runtimes[target.name]!);
    const got = await run(Object.fromEntries(Object.entries(feeds).map(([key, x]) => [key, toTensor(x)])));
    await run.dispose();
    expectClose(got.y!, y!, { atol: 5e-6, rtol: 5e-6 });
  });
});

describe('packed sequences are not divided', () => {
  const decisionsOf = (c: Case, target: Target) => {
    const { m, inputs } = attentionOf(c);
    return compile(m, { target, rules: kernels, inputs }).decisions;
  };
  const refusalOf = (c: Case, target: Target) =>
    decisionsOf(c, target)
      .flatMap((d) => d.refused)
      .find((r) => r.rule === usePackedChunks.name)?.reason.text;

  it('on a GPU', () => {
    for (const target of [targets.cuda, targets.webgpu])
      expect(refusalOf({}, target)).toBe('each step of its loop would wait for the device');
  });
  it('under a window, whose blocks compute less', () => {
    const c: Case = { mask: () => and(causal, slidingWindow({ left: 7 })) };
    expect(refusalOf(c, targets.cpu)).toBe('a kernel takes packed sequences, or blocks of a window take less');
  });
});

it('explain says for which sizes they are divided', () => {
  const { m, inputs } = attentionOf({});
  const where = compile(m, { target: targets.cpu, rules: kernels, inputs }).decisions.flatMap((d) => d.where ?? []);
  expect(where).toContain('2*longest_of_lengths*longest_of_lengths*sequences <= 2*longest_of_lengths*tokens + 256*tokens');
});
