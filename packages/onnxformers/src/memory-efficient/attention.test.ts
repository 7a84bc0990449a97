// Attention and fused ops inside graphs, against plain loops, and the kernels that they reach.
import {
  and,
  type CompileOptions,
  causal,
  compile,
  documents,
  explain,
  interpret,
  type Model,
  module,
  type Ort,
  type Tensor,
  targets,
  tensor,
  toArray,
  type Value,
} from '@onnxformers/core';
import { defineMask } from '@onnxformers/core/lowering';
import { expectClose } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import {
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalMask,
  createOps,
  type GraphBias,
  LowerTriangularMask,
  PagedBlockDiagonalPaddedKeysMask,
  xops,
} from './index';
import { addedBy, attentionTolerance, plainAttention, plainNorm, plainSwiglu, random, spoiled } from './plain.test-helper';

type Values = Readonly<Record<string, Value>>;

/** A user's module, which has no rules of its own. */
function compiled(
  tensors: Readonly<Record<string, Tensor>>,
  forward: (v: Values) => Values,
  o: Partial<CompileOptions> = {},
): Model {
  const inputs = Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, dims }]) => [name, [dtype, dims, 'data'] as const]),
  );
  return compile(module({}, forward), { target: targets.portable(21), inputs, ...o });
}
/** The result of the lowered graph in float64. */
const evaluated = (model: Model, tensors: Readonly<Record<string, Tensor>>) =>
  interpret(model.graph, Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, toArray(t)]))).y!;

const qkv = (seq: number, kvSeq: number, batch = 1) => ({
  q: random('q', [batch, seq, 3, 5]),
  k: random('k', [batch, kvSeq, 3, 5]),
  v: random('v', [batch, kvSeq, 3, 7]),
});

describe('memoryEfficientAttention in a graph', () => {
  it.each<[string, (v: Values) => GraphBias | undefined]>([
    ['nothing', () => undefined],
    ['a class', () => BlockDiagonalMask.fromSeqlens([2, 3], [4, 7]).makeCausal()],
    ['a class with a bias', () => new LowerTriangularMask().addBias(random('b', [1, 3, 5, 11]))],
    ['a mask over values', ({ offsets, keyOffsets }) => and(documents(offsets!, keyOffsets!), causal)],
    ['a value', ({ bias }) => bias],
  ])('with %s', (name, attnBias) => {
    const offsets = (...at: number[]) => tensor('int64', [3], at);
    const bias = random('b', [1, 3, 5, 11]);
    const tensors = { ...qkv(5, 11), offsets: offsets(0, 2, 5), keyOffsets: offsets(0, 4, 11), bias };
    const model = compiled(tensors, (v) => ({ y: xops.memoryEfficientAttention(v.q!, v.k!, v.v!, { attnBias: attnBias(v) }) }));
    const truth: Readonly<Record<string, Parameters<typeof plainAttention>[3]>> = {
      nothing: () => 0,
      'a class': addedBy(BlockDiagonalMask.fromSeqlens([2, 3], [4, 7]).makeCausal().materialize([5, 11])),
      'a class with a bias': addedBy(new LowerTriangularMask().addBias(bias).materialize([1, 3, 5, 11])),
      'a mask over values': addedBy(
        BlockDiagonalMask.fromSeqlens([2, 3], [4, 7]).makeCausalFromBottomRight().materialize([5, 11]),
      ),
      'a value': addedBy(bias),
    };
    const fed = Object.fromEntries(Object.entries(tensors).filter(([n]) => model.signature.inputs.some((p) => p.name === n)));
    const { q, k, v } = tensors;
    expectClose({ ...evaluated(model, fed), dtype: 'float64' }, plainAttention(q, k, v, truth[name]!), {
      rtol: 1e-6,
      atol: 1e-6,
    });
  });

  it('reads padding of keys only if it is assumed to be finite', () => {
    const attnBias = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([1, 2], 5, [2, 4]);
    const { q, k, v } = qkv(3, 10);
    const padded = (row: number) => row === 2 || row === 3 || row === 4 || row === 9;
    const tensors = { q, k: spoiled(k, padded), v: spoiled(v, padded) };
    const forward = (x: Values) => ({ y: xops.memoryEfficientAttention(x.q!, x.k!, x.v!, { attnBias }) });
    const y = evaluated(compiled(tensors, forward), tensors);
    expectClose({ ...y, dtype: 'float64' }, plainAttention(q, k, v, addedBy(attnBias.materialize([3, 10]))), {
      rtol: 1e-6,
      atol: 1e-6,
    });
    const trusting = compiled(tensors, forward, { assumptions: ['finite padding'] });
    expect(toArray({ ...evaluated(trusting, tensors), data: evaluated(trusting, tensors).data }).data.some(Number.isNaN)).toBe(
      true,
    );
    expect(evaluated(trusting, { q, k, v }).data).toEqual(y.data);
  });

  it('has the kernels of attention in a module without rules', () => {
    const tensors = qkv(5, 5, 2);
    const model = compiled(
      tensors,
      (x) => ({ y: xops.memoryEfficientAttention(x.q!, x.k!, x.v!, { attnBias: new LowerTriangularMask() }) }),
      { target: targets.cpu },
    );
    expect(explain(model).blocks.flatMap((b) => b.ops.flatMap((op) => op.kernels))).toEqual(['Attention']);
  });

  it.each<[string, (v: Values) => Value, string]>([
    [
      'another rank',
      ({ q, k }) => xops.memoryEfficientAttention(q!, k!, q!.graph.constant(random('v', [3, 7]))),
      'same 3, 4 or 5 axes',
    ],
    [
      'no bias',
      ({ q, k, v }) => xops.memoryEfficientAttention(q!, k!, v!, { attnBias: 'causal' as never }),
      'not an attention bias',
    ],
    [
      'a bias of other axes',
      ({ q, k, v }) => xops.memoryEfficientAttention(q!, k!, v!, { attnBias: q!.graph.constant(random('b', [3, 5, 5])) }),
      'the wrong number of axes',
    ],
    [
      'other sizes',
      ({ q, k, v }) => xops.memoryEfficientAttention(q!, k!, v!, { attnBias: q!.graph.constant(random('b', [1, 3, 5, 4])) }),
      '4 and 5 cannot be broadcast',
    ],
    [
      'pages of a batch',
      ({ q, k, v }) =>
        xops.memoryEfficientAttention(q!, k!, v!, { attnBias: PagedBlockDiagonalPaddedKeysMask.fromSeqlens([5], [5], [[0]], 5) }),
      '[1, pages · page_size, …]',
    ],
  ])('refuses %s', (_, forward, message) => expect(() => compiled(qkv(5, 5, 2), (v) => ({ y: forward(v) }))).toThrow(message));
});

describe('fused ops in a graph', () => {
  const x = random('x', [2, 3, 5]);
  const same = (got: ReturnType<typeof evaluated>, expected: Tensor) =>
    expectClose({ ...got, dtype: 'float64' }, expected, { rtol: 1e-6, atol: 1e-6 });

  it('swiglu', () => {
    const w = { w1: random('w1', [7, 5]), b1: random('b1', [7]), w2: random('w2', [7, 5]), w3: random('w3', [3, 7]) };
    const tensors = { x, ...w };
    const model = compiled(tensors, (v) => ({ y: xops.swiglu(v.x!, v.w1!, v.b1!, v.w2!, undefined, v.w3!, undefined) }));
    same(evaluated(model, tensors), plainSwiglu(x, w.w1, w.b1, w.w2, undefined, w.w3, undefined));
  });
  it('norms, with their kernels in a module without rules', () => {
    const [weight, residual] = [random('w', [5]), random('r', [2, 3, 5])];
    const tensors = { x, weight, residual };
    const sum = { dtype: 'float64' as const, dims: x.dims, data: toArray(x).data.map((n, i) => n + toArray(residual).data[i]!) };
    const forward = (v: Values) => ({ y: xops.rmsNormAdd(v.x!, v.residual!, v.weight!).y });
    same(evaluated(compiled(tensors, forward), tensors), plainNorm(sum, { weight, eps: 1e-6, centre: false }));
    const kernels = explain(compiled(tensors, forward, { target: targets.cpu })).blocks.flatMap((b) =>
      b.ops.flatMap((op) => op.kernels),
    );
    expect(kernels).toEqual(['SkipSimplifiedLayerNormalization']);
    const layer = compiled({ x }, (v) => ({ y: xops.layerNorm(v.x!, undefined, undefined, 0.1) }));
    same(evaluated(layer, { x }), plainNorm(x, { eps: 0.1, centre: true }));
    const rms = compiled({ x }, (v) => ({ y: xops.rmsNorm(v.x!) }));
    same(evaluated(rms, { x }), plainNorm(x, { eps: 1e-6, centre: false }));
  });
});

describe('what the tensor ops refuse', () => {
  const ops = createOps({ ort: node as unknown as Ort, target: targets.cpu });
  const [q, k] = [random('q', [2, 3, 5, 7]), random('k', [2, 11, 5, 7])];
  const attend = (o: object) => ops.memoryEfficientAttention(q, k, k, o);
  it.each<[() => Promise<unknown>, string]>([
    [() => attend({ bias: 3 }), 'memoryEfficientAttention: unknown option "bias". Options: attnBias, scale, p'],
    [() => attend({ scale: Number.NaN }), 'memoryEfficientAttention.scale: not a number; expected a finite number, got NaN'],
    [() => ops.rmsNorm(q, undefined, Number.POSITIVE_INFINITY), 'rmsNorm.eps: not a number'],
    [() => attend({ p: 2 }), 'p: not a probability; expected a number from 0 to 1, got 2'],
    [() => attend({ p: 0.5 }), 'p: dropout without a seed. Make the ops with createOps({ …, seed: 1 })'],
    [() => attend({ attnBias: 'causal' }), 'attnBias: not an attention bias; expected a mask'],
    [() => attend({ attnBias: random('b', [2, 5, 3, 7]) }), 'attnBias: the bias does not fit the scores; expected [2, 5, 3, 11]'],
    [() => attend({ attnBias: random('b', [5, 3, 11]) }), 'the bias does not fit the scores'],
    [() => attend({ attnBias: random('b', [3, 11], 'float16') }), 'another dtype than q; expected float32 or bool, got float16'],
    [() => attend({ attnBias: BlockDiagonalMask.fromSeqlens([3], [11]) }), 'packed sequences have a batch of 1'],
    [() => ops.memoryEfficientAttention(q, k, random('v', [2, 7, 5, 7])), 'q, k and v do not fit each other'],
    [() => ops.memoryEfficientAttention(q, k, 3 as never), 'memoryEfficientAttention.v: not a tensor; expected a tensor, got 3'],
    [() => ops.memoryEfficientAttention(q, k, random('v', [2, 11, 5, 7], 'float16')), 'v: the operands differ in dtype'],
    [
      () => ops.rmsNorm(tensor('float64', [2, 3], [1, 2, 3, 4, 5, 6])),
      'rmsNorm.x: the dtype is not supported; expected float32 or float16',
    ],
    [() => ops.rmsNorm(q, random('w', [5])), 'expected [7], got [5]'],
    [() => ops.layerNorm('x' as never), 'layerNorm.x: not a tensor'],
  ])('%#', async (call, message) => {
    await expect(call()).rejects.toThrow(message);
    expect(ops.sessions).toEqual([]);
  });
  it.each<[object, string]>([
    [BlockDiagonalMask.fromSeqlens([2], [11]), 'the mask is for another number of queries; expected 2, got 3'],
    [BlockDiagonalMask.fromSeqlens([3], [7]), 'the mask is for another number of keys; expected 7, got 11'],
    [PagedBlockDiagonalPaddedKeysMask.fromSeqlens([3], [4], [[5, 1]], 2), 'expected at least 6 pages of 2 keys, got 11 keys'],
    [
      { ...causal, class: { name: 'mine', definition: {} }, operands: { data: q } },
      'the axes of the data of a mask mine are not known',
    ],
  ])('masks that do not fit (%#)', async (attnBias, message) => {
    const [one, keys] = [random('q', [1, 3, 5, 7]), random('k', [1, 11, 5, 7])];
    await expect(ops.memoryEfficientAttention(one, keys, keys, { attnBias: attnBias as never })).rejects.toThrow(message);
  });
  it('masks of other classes and functions are other kinds', async () => {
    const parity = (fixed?: number) =>
      defineMask<never, { readonly of?: () => number }>({
        name: 'parity',
        comparesPositions: true,
        allows: ({ options: { of } }, { to }) => to.position % 2 === (fixed ?? of!()),
        tensor: ({ options: { of } }, at) => at.graph.ops.equal(at.graph.ops.mod(at.keyPositions(), 2), fixed ?? of!()),
      });
    const own = createOps({ ort: node as unknown as Ort, target: targets.cpu });
    const given = parity();
    const masks = [parity(0)(), parity(1)(), given({ options: { of: () => 0 } }), given({ options: { of: () => 1 } })];
    const [even, odd, alsoEven, alsoOdd] = await Promise.all(
      masks.map((attnBias) => own.memoryEfficientAttention(q, k, k, { attnBias })),
    );
    expect(own.sessions.length).toBe(4);
    expect([alsoEven, alsoOdd]).toEqual([even, odd]);
    expect(even).not.toEqual(odd);
    expectClose(
      even!,
      { ...plainAttention(q, k, k, (_, _h, _i, j) => (j % 2 ? Number.NEGATIVE_INFINITY : 0)), dtype: 'float32' },
      attentionTolerance(7, 11, 'float32'),
    );
    await own.dispose();
  });
  it('options', () => {
    const ort = node as unknown as Ort;
    expect(() => createOps({ ort, target: targets.cpu, maxSession: 3 } as never)).toThrow('unknown option "maxSession"');
    expect(() => createOps(undefined as never)).toThrow('createOps: not options; expected { ort, target }, got nothing');
    expect(() => createOps({ ort, target: targets.cpu, maxSessions: 0 })).toThrow('expected an integer of at least 1, got 0');
  });
});

it('packed sequences run the kernel of packed sequences on CUDA', async () => {
  const names = (kernel: string, model: Model) => model.graph.nodes.some(({ op }) => op.key.endsWith(kernel));
  // A runtime without a GPU: its sessions open, and return zeros.
  const ort = {
    Tensor: class {
      readonly location = 'cpu';
      constructor(
        readonly type: string,
        readonly data: unknown,
        readonly dims: readonly number[],
      ) {}
    },
    InferenceSession: {
      create: async () => ({
        inputNames: [],
        outputNames: ['y'],
        run: async () => ({ y: { type: 'float16', dims: [1, 5, 3, 8], data: new Uint16Array(120), location: 'cpu' } }),
        release: async () => {},
      }),
    },
  } as unknown as Ort;
  const ops = createOps({ ort, target: targets.cuda, machine: { sm: 90 } });
  const x = random('x', [1, 5, 3, 8], 'float16');
  await ops.memoryEfficientAttention(x, x, x, { attnBias: BlockDiagonalMask.fromSeqlens([2, 3]) });
  expect(names('PackedMultiHeadAttention', ops.sessions[0]!.model)).toBe(true);
  const gappy = BlockDiagonalMask.fromSeqlens([2, 3]).makeCausal();
  await ops.memoryEfficientAttention(x, x, x, { attnBias: gappy });
  expect(names('PackedMultiHeadAttention', ops.sessions[1]!.model)).toBe(false);
  await ops.dispose();
});
