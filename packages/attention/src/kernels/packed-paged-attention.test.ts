// Packed sequences on CUDA, by the definition of PagedAttention: what each sequence is alone.
import {
  and,
  causal,
  compile,
  documents,
  interpret,
  keyLengths,
  type Machine,
  type Mask,
  module,
  type NDArray,
  none,
  prefix,
  slidingWindow,
  targets,
  type Value,
} from '@onnxformers/core';
import { derive, nameOf } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { computeDerived, expectClose, randomArray } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { kernels } from './index';
import { PackedPagedAttention, usePackedPagedAttention, usePagedWindow } from './packed-paged-attention';

type Inputs = Readonly<Record<string, Value>>;
type Half = 'float16' | 'bfloat16';
interface Case {
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly width?: number;
  readonly mask?: (i: Inputs) => Mask<Value>;
  readonly more?: (i: Inputs) => Partial<ops.AttendOpOptions>;
}
const [headDim, tokens, lengths] = [8, 277, [260, 0, 13, 4]];
const hopper = { sm: 90, cudnn: '9.14' } as const;

function made(
  { heads = 6, kvHeads = 6, width = headDim, mask = () => none, more }: Case,
  dtype: Half,
  machine: Machine = hopper,
) {
  const m = module({}, (i: Inputs) => {
    const offsets = derive(i.q!.graph.root, 'offsets', { dtype: 'int64', dims: ['sequences + 1'] }, [i.lengths!]);
    return { y: ops.attendOp(i.q!, i.k!, i.v!, { mask: and(documents(offsets), mask(i)), ...more?.(i) }) };
  });
  const outside = dtype === 'bfloat16' ? 'float32' : dtype;
  const inputs = {
    q: [outside, [1, heads, 'tokens', headDim]],
    k: [outside, [1, kvHeads, 'tokens', headDim]],
    v: [outside, [1, kvHeads, 'tokens', width]],
    lengths: ['int64', ['sequences'], 'data'],
    prefixes: ['int64', ['sequences'], 'data'],
    bias: [outside, [1, heads, 'tokens', 'tokens'], 'data'],
    sinks: [outside, [heads], 'data'],
  } as const;
  return compile(m, { target: targets.cuda, machine, dtype, rules: kernels, inputs });
}

function check(model: ReturnType<typeof made>): void {
  const like = (v: Value): NDArray => {
    const { leaf, dtype, dims } = v;
    if (leaf?.kind === 'derived') {
      const known = (d: unknown): number => (typeof d === 'number' ? d : d === 'sequences + 1' ? 5 : 4);
      return computeDerived(leaf.how, [all], known, { dtype, dims }, leaf.plus)!;
    }
    if (dtype === 'int64') return nameOf(v) === 'lengths' ? all : { ...all, data: Float64Array.from([2, 0, 5, 1]) };
    const array = randomArray(
      nameOf(v)!,
      dims.map((d) => (typeof d === 'number' ? d : tokens)),
    );
    return { ...array, dtype };
  };
  const all: NDArray = { dtype: 'int64', dims: [4], data: Float64Array.from(lengths) };
  const run = (graph: typeof model.graph): NDArray =>
    interpret(graph, Object.fromEntries(graph.inputs.map((v) => [nameOf(v)!, like(v)]))).y!;
  // Scales and caps are float32.
  expectClose(run(model.graph), run(model.traced), { atol: 1e-5, rtol: 1e-5 });
}

const kernelsIn = (model: ReturnType<typeof made>) => model.graph.nodes.filter((n) => n.op.key === PackedPagedAttention.key);
const decision = ({ decisions }: ReturnType<typeof made>) => decisions.find((d) => d.op === 'onnxformers.Attend')!;

describe('is used', () => {
  it.each<readonly [string, Case, readonly Half[]]>([
    ['for all pairs', {}, ['bfloat16']],
    ['causal', { mask: () => causal }, ['bfloat16']],
    ['causal, of shared key heads', { kvHeads: 2, mask: () => causal }, ['float16', 'bfloat16']],
    ['of shared key heads', { kvHeads: 1 }, ['float16', 'bfloat16']],
    ['within a window', { mask: () => and<Value>(causal, slidingWindow({ left: 31 })) }, ['float16', 'bfloat16']],
    ['with a softcap', { mask: () => causal, more: () => ({ softcap: 0.7 }) }, ['float16', 'bfloat16']],
    ['with sinks', { mask: () => causal, more: ({ sinks }) => ({ sinks: sinks! }) }, ['float16', 'bfloat16']],
    ['with a scale', { kvHeads: 3, more: () => ({ scale: 0.3 }) }, ['float16', 'bfloat16']],
  ])('%s', (_, c, dtypes) => {
    for (const dtype of dtypes) {
      const model = made(c, dtype);
      expect(decision(model).chosen).toBe(usePackedPagedAttention.name);
      expect(kernelsIn(model)).toHaveLength(1);
    }
    check(made(c, dtypes[0]!));
  });
});

it.each<readonly [string, Machine]>([
  ['Ampere', { sm: 80, cudnn: '9.14' }],
  ['Ada', { sm: 89 }],
  ['Hopper without cuDNN', { sm: 90, cudnn: 'none' }],
])('is used for causal attention where no fused kernel takes lengths: %s', (_, machine) => {
  for (const dtype of ['float16', 'bfloat16'] as const)
    expect(decision(made({ mask: () => causal }, dtype, machine)).chosen).toBe(usePackedPagedAttention.name);
});

describe('is not used', () => {
  const other = (c: Case, dtype: Half, machine?: Machine): string => {
    const model = made(c, dtype, machine);
    expect(kernelsIn(model)).toEqual([]);
    return decision(model).chosen;
  };
  it('where kernels for packed tokens or for padded rows are faster', () => {
    expect(other({}, 'float16')).toBe('Attend(packed) → PackedMultiHeadAttention');
    expect(other({ mask: () => causal }, 'float16')).toBe('Attend(packed) → Attend on padded rows');
  });
  it('for a mask that it does not express', () => {
    expect(other({ mask: ({ prefixes }) => prefix(prefixes!) }, 'bfloat16')).toBe('Attend(packed) → Attend on padded rows');
    expect(other({ mask: () => slidingWindow({ left: 3, right: 3 }) }, 'bfloat16')).toBe('Attend → blocks');
  });
  it('for values of another width', () => {
    expect(other({ kvHeads: 2, width: 16, mask: () => causal }, 'bfloat16')).toBe('Attend(packed) → Attend on padded rows');
  });
  it('with a bias for pairs of tokens', () => {
    const { refused } = decision(made({ more: ({ bias }) => ({ bias: bias! }) }, 'bfloat16'));
    expect(refused.map(({ rule, reason }) => [rule, reason.text])).toContainEqual([
      usePackedPagedAttention.name,
      'it has no bias for pairs of packed tokens',
    ]);
  });
  it('below compute capability 8.0, for later positions', () => {
    expect(other({ kvHeads: 2 }, 'float16', { sm: 75 })).toBe('Attend(packed) → Attend on padded rows');
  });
});

describe('rows of a batch under a causal window', () => {
  const window = and<Value>(causal, slidingWindow({ left: 31 }));
  const rowsOf = (
    { heads = 6, kvHeads = 6, width = headDim, mask = () => window, more }: Case,
    { machine = hopper, keys = 'seq' }: { readonly machine?: Machine; readonly keys?: string } = {},
  ) => {
    const row = (n: number, seq: string, d: number) => ['float16', ['batch', n, seq, d], 'data'] as const;
    return compile(
      module({}, (i: Inputs) => ({ y: ops.attendOp(i.q!, i.k!, i.v!, { mask: mask(i), ...more?.(i) }) })),
      {
        target: targets.cuda,
        machine,
        dtype: 'float16',
        rules: kernels,
        inputs: {
          q: row(heads, 'seq', headDim),
          k: row(kvHeads, keys, headDim),
          v: row(kvHeads, keys, width),
          sinks: ['float16', [heads], 'data'],
          lengths: ['int64', ['batch'], 'data'],
        },
      },
    );
  };

  it.each<readonly [string, Case]>([
    ['plain', {}],
    ['of shared key heads, with a softcap', { kvHeads: 2, more: () => ({ softcap: 0.7 }) }],
    ['with sinks and a scale', { more: ({ sinks }) => ({ sinks: sinks!, scale: 0.3 }) }],
  ])('are sequences in pools: %s', (_, c) => {
    const model = rowsOf(c);
    expect(decision(model).chosen).toBe(usePagedWindow.name);
    expect(kernelsIn(model)).toHaveLength(1);
    const sizes: Readonly<Record<string, number>> = { batch: 3, seq: 263 };
    const feeds = Object.fromEntries(
      model.graph.inputs.map((v) => {
        const dims = v.dims.map((d) => (typeof d === 'number' ? d : sizes[d]!));
        return [nameOf(v)!, { ...randomArray(nameOf(v)!, dims), dtype: v.dtype }];
      }),
    );
    const [got, expected] = [interpret(model.graph, feeds).y!, interpret(model.traced, feeds).y!];
    // Scales and caps are float32.
    expectClose(got, expected, { atol: 1e-5, rtol: 1e-5 });
  });

  it.each<readonly [string, ReturnType<typeof rowsOf>]>([
    [
      'with lengths, under which rows of padding attend to other keys',
      rowsOf({ mask: ({ lengths: n }) => and(window, keyLengths(n!)) }),
    ],
    ['of later positions too', rowsOf({ mask: () => slidingWindow({ left: 31, right: 3 }) })],
    ['behind a cache', rowsOf({}, { keys: 'past + seq' })],
    ['with values of another width', rowsOf({ width: 16 })],
    ['before Ampere', rowsOf({}, { machine: { sm: 75 } })],
  ])('are not: %s', (_, model) => expect(kernelsIn(model)).toEqual([]));
});

it('all layers share the pools', () => {
  const m = module({}, (i: Inputs) => {
    const offsets = derive(i.x!.graph.root, 'offsets', { dtype: 'int64', dims: ['sequences + 1'] }, [i.lengths!]);
    const mask = and(documents(offsets), causal);
    return { y: ops.attendOp(ops.attendOp(i.x!, i.x!, i.x!, { mask }), i.x!, i.x!, { mask }) };
  });
  const inputs = { x: ['float32', [1, 2, 'tokens', 8]], lengths: ['int64', ['sequences'], 'data'] } as const;
  const { graph } = compile(m, { target: targets.cuda, machine: hopper, dtype: 'bfloat16', rules: kernels, inputs });
  const both = graph.nodes.filter((n) => n.op.key === PackedPagedAttention.key);
  expect(both).toHaveLength(2);
  expect(both[0]!.operands.slice(3, 5)).toEqual(both[1]!.operands.slice(3, 5));
  expect(both[0]!.operands[3]).not.toBe(both[0]!.operands[4]);
});
