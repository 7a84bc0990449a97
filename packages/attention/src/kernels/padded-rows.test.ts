// Packed sequences under masks that no kernel takes with packed tokens: padded for the attention alone, they are what each sequence is alone.
import {
  and,
  blockLayout,
  causal,
  compile,
  createRunner,
  dilated,
  documents,
  globalTokens,
  interpret,
  keyLengths,
  keyPadding,
  lookup,
  type Mask,
  maskMod,
  module,
  type NDArray,
  none,
  not,
  or,
  prefix,
  slidingWindow,
  slidingWindowFromTopLeft,
  type Target,
  targets,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { derive, nameOf } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { computeDerived, expectClose, randomArray } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { kernels } from './index';
import { usePaddedRows } from './padded-rows';
import { runtimes } from './runtimes.test-helper';

const lengths = [4, 0, 7, 2];
const tokens = 13;
type Inputs = Readonly<Record<string, Value>>;

const [heads, kvHeads, headDim, width] = [6, 2, 8, 5];
const masks: readonly (readonly [name: string, mask: (i: Inputs) => Mask<Value>])[] = [
  ['causal', () => causal],
  ['prefix', (i) => prefix(i.prefixes!)],
  ['lengths', (i) => keyLengths(i.prefixes!)],
  ['causal or global', () => or(causal, globalTokens(1))],
  ['neither', () => and(not(causal), dilated(2))],
  ['blocks', (i) => blockLayout(i.layout!, 3)],
  ['open window', () => slidingWindow({ left: 2 })],
  ['window from the top left', () => slidingWindowFromTopLeft({ left: 2, right: 1 })],
  [
    'expression',
    (i) =>
      maskMod((b, _h, q, k) =>
        q
          .mul(k)
          .mod(3)
          .ne(1)
          .or(k.lt(lookup(i.prefixes!, b))),
      ),
  ],
];

interface Options {
  readonly softcap?: number;
  readonly sinks?: boolean;
}
const attention = (mask: (i: Inputs) => Mask<Value>, { softcap, sinks = false }: Options = {}) =>
  module({}, (i: Inputs) => {
    const { root } = i.q!.graph;
    const offsets = derive(root, 'offsets', { dtype: 'int64', dims: ['sequences + 1'] }, [i.lengths!]);
    const options = { ...(softcap !== undefined && { softcap }), ...(sinks && { sinks: i.sinks! }) };
    return { y: ops.attendOp(i.q!, i.k!, i.v!, { mask: and(documents(offsets), mask(i)), ...options }) };
  });
const inputs = {
  q: ['float32', [1, heads, 'tokens', headDim]],
  k: ['float32', [1, kvHeads, 'tokens', headDim]],
  v: ['float32', [1, kvHeads, 'tokens', width]],
  lengths: ['int64', ['sequences'], 'data'],
  prefixes: ['int64', ['sequences'], 'data'],
  layout: ['bool', [heads, 3, 3], 'data'],
  keep: ['bool', [1, 'tokens'], 'data'],
  sinks: ['float32', [heads], 'data'],
} as const;
const feeds: Readonly<Record<string, NDArray>> = {
  q: randomArray('q', [1, heads, tokens, headDim]),
  k: randomArray('k', [1, kvHeads, tokens, headDim]),
  v: randomArray('v', [1, kvHeads, tokens, width]),
  lengths: { dtype: 'int64', dims: [4], data: Float64Array.from(lengths) },
  prefixes: { dtype: 'int64', dims: [4], data: Float64Array.from([2, 0, 5, 1]) },
  layout: randomArray('layout', [heads, 3, 3], 'bool'),
  keep: randomArray('keep', [1, tokens], 'bool'),
  sinks: randomArray('sinks', [heads]),
};
const compiled = (mask: (i: Inputs) => Mask<Value>, target: Target, o?: Options) =>
  compile(attention(mask, o), { target, rules: kernels, inputs });
const expectedOf = ({ traced }: ReturnType<typeof compiled>): NDArray =>
  interpret(traced, { ...feeds, offsets_of_lengths: { dtype: 'int64', dims: [5], data: Float64Array.from([0, 4, 4, 11, 13]) } })
    .y!;
const chosen = ({ decisions }: Pick<ReturnType<typeof compiled>, 'decisions'>) =>
  decisions.find((d) => d.op === 'onnxformers.Attend')!;
/** Long sequences of different lengths run in chunks; these are short, so they run in the branch that pads them. */
const expectPadded = ({ decisions }: Pick<ReturnType<typeof compiled>, 'decisions'>) =>
  expect(decisions.map((d) => d.chosen)).toContain(usePaddedRows.name);

describe.each([targets.cpu, targets.wasm, targets.portable(21)])('$name', (target) => {
  it.each(masks)('%s', async (_, mask) => {
    for (const o of [{}, { softcap: 0.8 }, { sinks: true }] satisfies Options[]) {
      const made = compiled(mask, target, o);
      expectPadded(made);
      const run = await createRunner(made, runtimes[target.name]!, { session: { graphOptimizationLevel: 'disabled' } });
      const fed = Object.entries(feeds).filter(([name]) => made.signature.inputs.some((x) => x.name === name));
      const { y } = await run(Object.fromEntries(fed.map(([name, x]) => [name, toTensor(x)])));
      await run.dispose();
      expectClose(y!, expectedOf(made), { atol: 2e-6, rtol: 2e-6 });
    }
  });
});

describe.each([
  ['cuda', targets.cuda, 'float16', { sm: 90, cudnn: '9.14' }, 'com.microsoft.RestorePadding'],
  ['cuda', targets.cuda, 'bfloat16', { sm: 90, cudnn: '9.14' }, 'Gather'],
  ['webgpu', targets.webgpu, 'float32', {}, 'Gather'],
] as const)('for %s, by the definitions of its kernels', (_name, target, dtype, machine, op) => {
  it.each(masks)('%s', (_, mask) => {
    const typed = Object.fromEntries(
      Object.entries(inputs).map(([n, [d, ...rest]]) => [n, [d === 'float32' && dtype !== 'bfloat16' ? dtype : d, ...rest]]),
    );
    const made = compile(attention(mask), { target, machine, dtype, rules: kernels, inputs: typed as never });
    const keys = made.graph.nodes.map((n) => n.op.key);
    expect(keys).toContain(op);
    // Into rectangles three times, and back: in float16 by the same kernel, in other dtypes by Gather.
    expect(keys.filter((key) => key === 'com.microsoft.RestorePadding')).toHaveLength(op === 'Gather' ? 0 : 4);
    const like = Object.fromEntries(
      Object.entries(feeds).map(([n, x]) => [n, x.dtype === 'float32' && dtype !== 'bfloat16' ? { ...x, dtype } : x]),
    );
    const derived = Object.fromEntries([...made.graph.inputs, ...made.traced.inputs].flatMap((v) => derivedFeed(v)));
    const all = { ...like, ...derived };
    const of = (graph: typeof made.graph): NDArray =>
      interpret(graph, Object.fromEntries(Object.entries(all).filter(([n]) => graph.inputs.some((v) => nameOf(v) === n)))).y!;
    expectClose(of(made.graph), of(made.traced), { atol: 2e-3 });
  });
});
it('needs no lengths under a causal mask: padding is behind each sequence, where no real query looks', () => {
  const usesLengths = (mask: (i: Inputs) => Mask<Value>): boolean =>
    compiled(mask, targets.cuda).graph.nodes.some((n) => n.operands.some((v) => v && nameOf(v) === 'lengths'));
  expect(usesLengths(() => slidingWindow({ left: 2 }))).toBe(true);
  for (const mask of [causal, and<Value>(causal, dilated(2))]) expect(usesLengths(() => mask)).toBe(false);
});

function derivedFeed({ leaf, dtype, dims }: Value): [string, NDArray][] {
  if (leaf?.kind !== 'derived') return [];
  const known = (d: unknown): number => (typeof d === 'number' ? d : d === 'sequences + 1' ? 5 : 4);
  return [[leaf.name, computeDerived(leaf.how, [feeds.lengths!], known, { dtype, dims }, leaf.plus)!]];
}

describe.each([targets.cpu, targets.wasm, targets.portable(21)])(
  'keys of other sequences, and prefix tokens, on $name',
  (target) => {
    const keyCounts = [3, 5, 0, 6];
    const prefix = 2;
    // Each sequence has two more rows than its length; the third attends to no keys.
    const other = {
      q: ['float32', [1, heads, 'tokens + 2*sequences', headDim]],
      k: ['float32', [1, kvHeads, 'keys', headDim]],
      v: ['float32', [1, kvHeads, 'keys', width]],
      lengths: ['int64', ['sequences'], 'data'],
      key_lengths: ['int64', ['sequences'], 'data'],
      prefixes: ['int64', ['sequences'], 'data'],
      real_keys: ['int64', ['sequences'], 'data'],
      // Binds the number of tokens.
      ids: ['float32', ['tokens'], 'data'],
    } as const;
    const crossing = (mask: (i: Inputs) => Mask<Value>) =>
      module({}, (i: Inputs) => {
        const { root } = i.q!.graph;
        const type = { dtype: 'int64', dims: ['sequences + 1'] } as const;
        const [offsets, keyOffsets] = [
          derive(root, 'offsets', type, [i.lengths!], prefix),
          derive(root, 'offsets', type, [i.key_lengths!]),
        ];
        const y = ops.attendOp(i.q!, i.k!, i.v!, { mask: and(documents(offsets, keyOffsets, i.real_keys), mask(i)) });
        return { y, sum: ops.reduceSum(i.ids!, [0]) };
      });
    const given: Readonly<Record<string, NDArray>> = {
      q: randomArray('q', [1, heads, tokens + 8, headDim]),
      k: randomArray('k', [1, kvHeads, 14, headDim]),
      v: randomArray('v', [1, kvHeads, 14, width]),
      lengths: feeds.lengths!,
      key_lengths: { dtype: 'int64', dims: [4], data: Float64Array.from(keyCounts) },
      prefixes: feeds.prefixes!,
      real_keys: { dtype: 'int64', dims: [4], data: Float64Array.from([2, 9, 0, 4]) },
      ids: randomArray('ids', [tokens]),
    };
    const made = (mask: (i: Inputs) => Mask<Value>, more: readonly string[] = []) =>
      compile(crossing(mask), {
        target,
        rules: kernels,
        inputs: Object.fromEntries(
          Object.entries(other).filter(([n]) => !['prefixes', 'real_keys'].includes(n) || more.includes(n)),
        ) as never,
      });

    it.each([
      ['all keys', () => none, []],
      ['the first keys', (i: Inputs) => keyLengths(i.prefixes!), ['prefixes']],
      ['padded keys', () => none, ['real_keys']],
    ] as const)('%s', async (_, mask, more) => {
      const model = made(mask, more);
      expectPadded(model);
      const fed = Object.fromEntries(Object.entries(given).filter(([n]) => model.signature.inputs.some((x) => x.name === n)));
      const run = await createRunner(model, runtimes[target.name]!, { session: { graphOptimizationLevel: 'disabled' } });
      const { y } = await run(Object.fromEntries(Object.entries(fed).map(([n, x]) => [n, toTensor(x)])));
      await run.dispose();
      const offsets = (xs: readonly number[]): NDArray => ({ dtype: 'int64', dims: [5], data: Float64Array.from(xs) });
      const expected = interpret(model.traced, {
        ...fed,
        'offsets_of_lengths + 2': offsets([0, 6, 8, 17, 21]),
        offsets_of_key_lengths: offsets([0, 3, 8, 8, 14]),
      }).y!;
      expectClose(y!, expected, { atol: 2e-6, rtol: 2e-6 });
      const rows = 9 * width;
      const blind = Array.from({ length: heads }, (_, h) =>
        expected.data.slice((h * 21 + 8) * width, (h * 21 + 8) * width + rows),
      );
      expect(blind.every((xs) => xs.every((x) => x === 0))).toBe(true);
    });

    it('is refused where positions of queries and keys are compared', () => {
      const decision = chosen(made(() => causal));
      expect(decision.chosen).not.toBe(usePaddedRows.name);
      expect(decision.refused.find((r) => r.rule === usePaddedRows.name)!.reason.text).toContain('keys');
    });
  },
);

describe('it is refused', () => {
  const refusalOf = (made: ReturnType<typeof compiled>): string =>
    chosen(made).refused.find((r) => r.rule === usePaddedRows.name)!.reason.text;
  it('for masks with data for rows of the batch', () =>
    expect(refusalOf(compiled((i) => keyPadding(i.keep!), targets.cpu))).toContain(
      'the mask has data for rows of the batch: keyPadding',
    ));
});
