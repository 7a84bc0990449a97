// Attention in chunks of queries: the same numbers, and memory that grows with the sequence instead of its square.
import {
  and,
  blockLayout,
  causal,
  causalFromTopLeft,
  compile,
  createRunner,
  type Dim,
  dense,
  dilated,
  documentIds,
  documents,
  explain,
  globalTokens,
  grad,
  type InputType,
  interpret,
  keyLengths,
  keyPadding,
  keyStarts,
  lookup,
  type Mask,
  type MaskKind,
  maskMod,
  materialize,
  module,
  type NDArray,
  none,
  not,
  or,
  prefix,
  printExplanation,
  randomPairs,
  scoreMod,
  slidingWindow,
  slidingWindowFromTopLeft,
  type Target,
  type Tensor,
  targets,
  termsOf,
  toTensor,
  type Value,
  weightMod,
} from '@onnxformers/core';
import { chunksOf, lower, type Rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { expectClose, footprint, randomArray, randomParameters } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attendCases, derivedFeed, feedsOf, inputsOf, modelOf } from './attend-cases.test-helper';
import { kernels } from './index';
import { runtimes } from './runtimes.test-helper';

const portable = targets.portable(21);
const divided: readonly Target[] = [targets.cpu, targets.wasm, portable];
type Inputs = Readonly<Record<string, Value>>;
const name = 'Attend → chunks of queries';

/** Three queries at a time, however few there are. */
const forced: Rule = { ...chunksOf({ rows: 3, few: 3, fewScores: 0 }), name: 'Attend → 3 queries at a time' };

describe.each(divided.map((target) => [target.name, target] as const))('chunks on %s', (_, target) => {
  it('are what Attend means, wherever other matches keep all scores', () => {
    const seen: string[] = [];
    for (const c of attendCases) {
      const model = modelOf(c);
      const { traced } = compile(model, { target, inputs: inputsOf(c) });
      const parameters = randomParameters(model).of;
      const { graph, decisions } = lower(traced, target, { rules: [...kernels, forced] });
      const feeds = feedsOf(c);
      const expected = interpret(traced, feeds, { parameters });
      const derived = Object.fromEntries(graph.inputs.flatMap((v) => derivedFeed(v, feeds)));
      const got = interpret(graph, { ...feeds, ...derived }, { parameters });
      for (const [key, value] of Object.entries(expected)) expectClose(got[key]!, value, { atol: 1e-6, rtol: 1e-6 }, c.name);
      if (decisions.some((d) => d.chosen === forced.name)) seen.push(c.name);
    }
    expect(seen).toMatchSnapshot();
  });
});

const [heads, width] = [6, 8];
type Form = {
  readonly mask: (inputs: Inputs, seq: Dim) => Mask<Value>;
  readonly inputs?: (seq: Dim) => Readonly<Record<string, InputType>>;
  readonly packed?: true;
};
/** An example of every class; without one this file does not compile. */
const forms: Readonly<Record<MaskKind | 'none' | 'and', Form>> = {
  none: { mask: () => none },
  causal: { mask: () => causal },
  causalFromTopLeft: { mask: () => causalFromTopLeft },
  window: { mask: () => slidingWindow({ left: 60, right: 30 }) },
  windowFromTopLeft: { mask: () => slidingWindowFromTopLeft({ left: 60 }) },
  dilated: { mask: () => dilated(3) },
  prefix: { inputs: () => ({ prefixes: ['int64', ['batch']] }), mask: (i) => prefix(i.prefixes!) },
  global: {
    inputs: (seq) => ({ marked: ['bool', ['batch', seq]] }),
    mask: (i) => or(slidingWindow({ left: 5, right: 5 }), globalTokens({ queries: i.marked!, keys: i.marked! })),
  },
  blocks: { inputs: () => ({ layout: ['bool', [heads, 300, 300]] }), mask: (i) => blockLayout(i.layout!, 64) },
  lengths: { inputs: () => ({ lengths: ['int64', ['batch']] }), mask: (i) => keyLengths(i.lengths!) },
  keyStarts: { inputs: () => ({ starts: ['int64', ['batch']] }), mask: (i) => keyStarts(i.starts!) },
  keyPadding: { inputs: (seq) => ({ keep: ['bool', ['batch', seq]] }), mask: (i) => keyPadding(i.keep!) },
  documents: { packed: true, inputs: () => ({ offsets: ['int64', [5]] }), mask: (i) => documents(i.offsets!) },
  documentIds: { inputs: (seq) => ({ ids: ['int64', ['batch', seq]] }), mask: (i) => and(causal, documentIds(i.ids!)) },
  // Its data are S × S themselves, and an input.
  dense: { inputs: (seq) => ({ pairs: ['bool', [1, 1, seq, seq]] }), mask: (i) => dense(i.pairs!) },
  expression: {
    inputs: (seq) => ({ ids: ['int64', ['batch', seq]] }),
    mask: (i) =>
      maskMod((b, h, q, k) =>
        lookup(i.ids!, b, q)
          .eq(lookup(i.ids!, b, k))
          .or(h.eq(1).and(q.mod(7).eq(k.mod(7)))),
      ),
  },
  and: {
    inputs: (seq) => ({ keep: ['bool', ['batch', seq]] }),
    mask: (i) => and(causal, keyPadding(i.keep!)),
  },
  random: { mask: () => randomPairs(0.1, 7) },
  or: { mask: () => or(causal, globalTokens(3)) },
  not: { mask: () => not(slidingWindow({ left: 4 })) },
};

interface Setting {
  readonly batch?: Dim;
  readonly seq?: Dim;
  readonly kvHeads?: number;
  readonly options?: Partial<ops.AttendOpOptions>;
}
const compiled = (
  { mask, inputs, packed }: Form,
  target: Target,
  { batch: given = 'batch', seq = 'seq', kvHeads = 2, options }: Setting = {},
) => {
  const batch = packed ? 1 : given;
  const dtype = target === targets.cuda ? 'float16' : 'float32';
  const m = module({}, (i: Inputs) => ({
    y: i.q!.graph.root.scope('attention', () => ops.attendOp(i.q!, i.k!, i.v!, { mask: mask(i, seq), ...options })),
  }));
  const sized = (dims: readonly Dim[]): readonly Dim[] => dims.map((d) => (d === 'batch' ? given : d));
  const data = Object.entries(inputs?.(seq) ?? {}).map(([key, [type, dims]]) => [key, [type, sized(dims), 'data']] as const);
  return compile(m, {
    target,
    rules: kernels,
    ...(dtype === 'float16' && { dtype }),
    inputs: {
      q: [dtype, [batch, heads, seq, width]],
      k: [dtype, [batch, kvHeads, seq, width]],
      v: [dtype, [batch, kvHeads, seq, width]],
      ...(Object.fromEntries(data) as Readonly<Record<string, InputType>>),
    },
  });
};

/** The power of `seq` in a size. */
const degreeIn = (d: Dim): number =>
  Math.max(
    0,
    ...termsOf(d).map(({ atoms }) =>
      atoms.reduce((n, a) => n + (a.kind === 'name' ? Number(a.name === 'seq') : degreeIn(a.numerator)), 0),
    ),
  );

describe.each([heads, 2])(
  'the largest intermediate result of a long sequence, with workspaces of kernels, of 6 heads on %i',
  (kvHeads) => {
    const all = [...divided, targets.cuda, targets.webgpu];
    const largestOf = (form: Form, target: Target): Dim =>
      footprint(compiled(form, target, { kvHeads }).graph, { batch: 2, seq: 16_411 }, { target }).largest.count;
    it.each(Object.entries(forms))('under %s', (_, form) => {
      const sizes = all.map((target) => [target.name, largestOf(form, target)] as const);
      expect(Object.fromEntries(sizes)).toMatchSnapshot();
      for (const [target, size] of sizes.slice(0, divided.length)) expect(degreeIn(size), `${target}: ${size}`).toBe(1);
    });
  },
);

// Each step of a loop waits for a device there, so only what would take gigabytes is divided.
describe.each([targets.cuda, targets.webgpu].map((target) => [target.name, target] as const))('on %s', (_, target) => {
  it.each(['keyPadding', 'keyStarts', 'dilated', 'expression'] as const)('a mask of many known pairs is divided: %s', (kind) => {
    const of = (seq: number) => compiled(forms[kind], target, { batch: 1, seq });
    const chosen = (model: ReturnType<typeof of>) => model.decisions.find((d) => d.path === 'attention')!.chosen;
    expect(chosen(of(8209))).not.toBe(name);
    const long = of(40_009);
    expect(chosen(long)).toBe(name);
    expect(footprint(long.graph, {}, { target }).largest.count).toBeLessThanOrEqual(heads * 1024 * 40_009);
  });
});

// Numbers of real runs, at the size of chunks and the limits that models have.
describe.each(divided.map((target) => [target.name, target] as const))('more scores than fit, on %s', (_, target) => {
  const [batch, seq, kvHeads] = [1, 1693, 2];
  const given: Readonly<Record<string, NDArray>> = {
    q: randomArray('q', [batch, heads, seq, width]),
    k: randomArray('k', [batch, kvHeads, seq, width]),
    v: randomArray('v', [batch, kvHeads, seq, width]),
    lengths: array('int64', [batch], [1201]),
    starts: array('int64', [batch], [307]),
    keep: array(
      'bool',
      [batch, seq],
      Array.from({ length: seq }, (_, i) => (i % 11 && i > 90 ? 1 : 0)),
    ),
  };
  it.each(['lengths', 'keyPadding', 'and', 'keyStarts', 'dilated'] as const)('%s', async (kind) => {
    const form = forms[kind];
    const model = compiled(form, target);
    expect(model.decisions.find((d) => d.path === 'attention')!.chosen).toBe(name);
    const names = ['q', 'k', 'v', ...Object.keys(form.inputs?.(seq) ?? {})];
    const tensors = Object.fromEntries(names.map((n) => [n, toTensor(given[n]!)]));
    const run = await createRunner(model, runtimes[target.name]!);
    const { y } = (await run(tensors)) as unknown as { y: { data: Float32Array } };
    await run.dispose();
    const mask = form.mask(tensors as unknown as Inputs, seq) as unknown as Mask<Tensor>;
    const shown = materialize(mask, { batch, seq }).data as Uint8Array;
    // The first and last query, and those around a border of chunks.
    for (const row of [0, 91, 127, 128, 1024, seq - 1])
      for (const head of [0, 5])
        expectClose(rowOf(y.data, head, row), expectedRow(given, shown, head, row), { atol: 2e-6, rtol: 2e-6 }, `${kind} ${row}`);
  });

  const rowOf = (y: Float32Array, head: number, row: number): NDArray => {
    const at = (head * seq + row) * width;
    return array('float32', [width], y.subarray(at, at + width));
  };
  const expectedRow = ({ q, k, v }: Readonly<Record<string, NDArray>>, shown: Uint8Array, head: number, row: number): NDArray => {
    const kvHead = Math.floor((head * kvHeads) / heads);
    const [from, to] = [(head * seq + row) * width, (j: number) => (kvHead * seq + j) * width];
    const y = new Float64Array(width);
    let total = 0;
    for (let j = 0; j < seq; j++) {
      if (!shown[row * seq + j]) continue;
      let score = 0;
      for (let c = 0; c < width; c++) score += q!.data[from + c]! * k!.data[to(j) + c]!;
      const weight = Math.exp(score / Math.sqrt(width));
      total += weight;
      for (let c = 0; c < width; c++) y[c]! += weight * v!.data[to(j) + c]!;
    }
    return array('float32', [width], total ? y.map((x) => x / total) : y);
  };
});

describe('attention is whole', () => {
  const decisions = (setting: Setting, target: Target = portable, form: Form = forms.keyPadding) =>
    compiled(form, target, setting).decisions.filter((d) => d.op === 'onnxformers.Attend');
  const why = (setting: Setting, target?: Target) => {
    const [d] = decisions(setting, target);
    expect(d!.chosen).not.toBe(name);
    return d!.refused.filter((r) => r.rule === name).map((r) => r.reason.text);
  };
  it('where it has few queries, or few scores', () => {
    for (const seq of [1, 127, 512]) expect(why({ seq })).toEqual([]);
    const few = decisions({}).find((d) => d.where && d.chosen === 'decomposed')!;
    expect(few.where).toBe('seq <= 512 or 6*batch*seq*seq <= 16777216');
  });
  it('where a kernel keeps no scores', () => {
    expect(why({}, targets.cuda)).toEqual([]);
    expect(decisions({ kvHeads: heads }, targets.cpu, forms.none).map((d) => d.chosen)).toEqual(['Attend → MultiHeadAttention']);
    expect(decisions({}, targets.cpu, forms.causal).map((d) => d.chosen)).toEqual(['Attend → GroupQueryAttention']);
  });
  const pairs = ['batch', 2, 'seq', 'seq'] as const;
  const attends = (f: (i: Inputs) => Readonly<Record<string, Value>>, target: Target, noise = false) => {
    const inputs: Readonly<Record<string, InputType>> = {
      q: ['float32', ['batch', 2, 'seq', 4]],
      ...(noise && { noise: ['float32', pairs, 'data'] }),
    };
    return compile(module({}, f), { target, rules: kernels, inputs }).decisions.filter((d) => d.op === 'onnxformers.Attend');
  };
  const whole = (q: Value, options: Partial<ops.AttendOpOptions> = {}) => ops.attendOp(q, q, q, { mask: none, ...options });
  it.each([
    [
      'it is on a GPU',
      targets.webgpu,
      ({ q }: Inputs) => ({ y: whole(q!, { softcap: 3 }) }),
      'each step of its loop would wait for the device',
    ],
    [
      'it has dropout',
      portable,
      ({ q, noise }: Inputs) => ({ y: whole(q!, { dropout: { probability: 0.1, noise: noise! } }) }),
      'dropout has a number for every pair of query and key',
    ],
    [
      'its weights are returned',
      portable,
      ({ q }: Inputs) => ({ ...ops.attendWithWeights(q!, q!, q!, { mask: none }) }),
      'its weights are a number for every pair of query and key',
    ],
    [
      'a gradient passes through it',
      portable,
      ({ q }: Inputs) => {
        const y = whole(q!);
        const loss = ops.reduceSum(ops.mul(y, y), [0, 1, 2, 3], { keepDims: false });
        return { y, gradient: grad(loss, [q!])[0]! };
      },
      'its gradient keeps the scores of all pairs of queries and keys',
    ],
  ] as const)('where %s', (_, target, f, reason) => {
    const [d, ...others] = attends(f, target, reason.startsWith('dropout'));
    expect(d!.chosen).toBe('decomposed');
    expect(others).toEqual([]);
    expect(d!.refused.find((r) => r.rule === name)!.reason.text).toBe(reason);
  });
});

describe.each(divided.map((target) => [target.name, target] as const))('functions of scores and weights on %s', (_, target) => {
  const setting = (seq: Dim): Setting => ({
    seq,
    options: {
      scoreMod: scoreMod((score, _b, h, q, k) => score.mul(score).sub(q.sub(k).abs().mul(h))),
      weightMod: weightMod((weight) => weight.mul(weight)),
    },
  });
  it('are computed in chunks, in memory that is linear in the sequence', async () => {
    const model = compiled(forms.causal, target, setting('seq'));
    const [whole] = model.decisions.filter((d) => d.path === 'attention');
    expect(whole!.chosen).toBe('FlexAttend → chunks of queries');
    const { largest } = footprint(model.graph, { batch: 2, seq: 16_411 }, { target });
    expect(degreeIn(largest.count), String(largest.count)).toBe(1);
    const [seq, kvHeads] = [1693, 2];
    const feeds = {
      q: toTensor(randomArray('q', [1, heads, seq, width])),
      k: toTensor(randomArray('k', [1, kvHeads, seq, width])),
      v: toTensor(randomArray('v', [1, kvHeads, seq, width])),
    };
    const run = await createRunner(model, runtimes[target.name]!);
    const { y } = (await run(feeds)) as { y: Tensor };
    await run.dispose();
    // The same rows at the beginning, where there are so few that nothing is divided: a causal row does not depend on later keys.
    const few = compiled(forms.causal, target, setting(131));
    expect(few.decisions.some((d) => d.chosen === 'FlexAttend → chunks of queries')).toBe(false);
    const first = (x: Tensor): Tensor => {
      const count = x.dims[1]!;
      const parts = Array.from({ length: count }, (_, h) =>
        (x.data as Float32Array).slice(h * seq * width, (h * seq + 131) * width),
      );
      return { ...x, dims: [1, count, 131, width], data: Float32Array.from(parts.flatMap((part) => [...part])) };
    };
    const runFew = await createRunner(few, runtimes[target.name]!);
    const expected = (await runFew({ q: first(feeds.q), k: first(feeds.k), v: first(feeds.v) })) as { y: Tensor };
    await runFew.dispose();
    const shown = first(y);
    expectClose(shown, { ...expected.y, data: Float64Array.from(expected.y.data as Float32Array) } as NDArray, {
      atol: 2e-6,
      rtol: 2e-5,
    });
  });
});

it('explain says what runs for which sizes, and advises nothing that the user cannot change', () => {
  const text = printExplanation(explain(compiled(forms.and, targets.cpu)));
  expect(text).toContain('Attend → chunks of queries');
  expect(text).toContain('Attention on heads, with the mask as a tensor: it takes more memory');
  expect(text).toMatch(/where seq > 512 and 6\*batch\*seq\*seq > 16777216/);
  expect(text).toContain('causal, keyPadding (a chunk of queries)');
  expect(text).not.toContain('if the dense mask');
});

function array(dtype: NDArray['dtype'], dims: readonly number[], data: ArrayLike<number>): NDArray {
  return { dtype, dims, data: Float64Array.from(data) };
}
