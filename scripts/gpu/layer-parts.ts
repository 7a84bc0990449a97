// The parts of one packed layer on a GPU, each alone, in the ways that ops offer: products, ways into rectangles and back, what stands between, and the loss.
// The sizes are those of bench/varlen.ts.
import { varlenSizes } from '../../packages/onnxformers/src/bench/varlen';
import type { Ort } from '../../packages/onnxformers/src/index';
import { type Chain, type Constant, call, chainOf, type Name, type Node, slopeOf, wave } from './chains';
import { check, logged, result, section, table } from './report';

const device = process.env.DEVICE === 'cpu' ? 'cpu' : 'cuda';
const dtypes = (process.env.DTYPES ?? 'float16,bfloat16').split(',') as DType[];
const only = process.env.WAYS?.split(';');
type DType = 'float16' | 'bfloat16';

const small = process.env.SMALL === '1';
const lengths = small ? [3, 11, 8] : varlenSizes.lengths;
const [heads, headDim] = small ? [2, 64] : [varlenSizes.heads, varlenSizes.headDim];
const dim = heads * headDim;
const hidden = 4 * dim;
const [batch, longest] = [lengths.length, Math.max(...lengths)];
const rows = batch * longest;
const tokens = lengths.reduce((a, b) => a + b, 0);
const real = lengths.flatMap((n, b) => Array.from({ length: n }, (_, i) => b * longest + i));
const padding = lengths.flatMap((n, b) => Array.from({ length: longest - n }, (_, i) => b * longest + n + i));
// Where each row of the rectangles goes if all real rows come first.
const first = new Array<number>(rows);
[...real, ...padding].forEach((row, i) => {
  first[row] = i;
});

const ints = (values: readonly number[], dims = [values.length]): Constant => ({ dtype: 'int32', dims, values });
const vector = (dtype: DType, n: number, of: (i: number) => number, dims = [n]): Constant => ({
  dtype,
  dims,
  values: Array.from({ length: n }, (_, i) => of(i)),
});
const constantsOf = (dtype: DType): Readonly<Record<Name, Constant>> => ({
  places: ints([...real, ...padding], [batch, longest]),
  first: ints(first, [1, rows]),
  real_ids: ints(real, [1, tokens]),
  no_ids: ints(Array(tokens).fill(0), [1, tokens]),
  real: { dtype: 'int64', dims: [tokens], values: real },
  real_columns: { dtype: 'int64', dims: [tokens, 1], values: real },
  labels: { dtype: 'int64', dims: [tokens, 1], values: Array.from({ length: tokens }, (_, i) => (7 * i) % dim) },
  bias: vector(dtype, dim, (i) => Math.sin(i) / 8),
  bias_row: vector(dtype, dim, (i) => Math.sin(i) / 8, [1, dim]),
  bias_3: vector(dtype, 3 * dim, (i) => Math.sin(i) / 8),
  bias_4: vector(dtype, hidden, (i) => Math.sin(i) / 8),
  ones: vector(dtype, dim, () => 1),
  zeros: vector(dtype, dim, () => 0),
  zero_row: vector(dtype, dim, () => 0, [1, dim]),
  small: vector(dtype, 1, () => 1 / 24, []),
});

interface Part {
  /** Inputs that do not change from copy to copy. */
  readonly inputs: Readonly<Record<Name, readonly number[]>>;
  /** One application, with `at` as its last value. */
  readonly nodes: (at: Name) => readonly Node[];
  readonly dims: readonly number[];
  readonly output?: 'float32';
}

const x = { x: [tokens, dim] };
const rectangle = { rectangle: [rows, dim] };
const map = (from: number, to: number, op = 'MatMul', transposed = false, attributes: Node['attributes'] = {}): Part => ({
  inputs: { from: [tokens, from], weight: transposed ? [to, from] : [from, to] },
  nodes: (at) => [call(op, ['from', 'weight'], at, { ...attributes, ...(transposed && { transB: 1 }) })],
  dims: [tokens, to],
});
const then = (part: Part, ...more: readonly ((x: Name, y: Name) => Node)[]): Part => ({
  ...part,
  nodes: (at) => {
    const names = [...more.map((_, i) => `${at}_${i}`), at];
    return [...part.nodes(names[0]!), ...more.map((make, i) => make(names[i]!, names[i + 1]!))];
  },
});

const parts = (dtype: DType): Readonly<Record<string, Part>> => ({
  'MatMul 1 → 1': map(dim, dim),
  'MatMul 1 → 2': map(dim, 2 * dim),
  'MatMul 1 → 3': map(dim, 3 * dim),
  'MatMul 1 → 4': map(dim, hidden),
  'MatMul 4 → 1': map(hidden, dim),
  'MatMul with 3 weights [3, 1, 1]': {
    inputs: { ...x, weights: [3, dim, dim] },
    nodes: (at) => [call('MatMul', ['x', 'weights'], at)],
    dims: [3, tokens, dim],
  },
  'FusedMatMul 1 → 1, weight [to, from]': map(dim, dim, 'com.microsoft.FusedMatMul', true),
  'Gemm 1 → 1, no bias': map(dim, dim, 'Gemm', true),
  'GemmFloat8 1 → 1, no bias': map(dim, dim, 'com.microsoft.GemmFloat8', true, { dtype: dtype === 'float16' ? 10 : 16 }),
  'GemmFloat8 1 → 1, a bias [1, to]': {
    inputs: { ...x, weight: [dim, dim] },
    nodes: (at) => [
      call('com.microsoft.GemmFloat8', ['x', 'weight', 'bias_row'], at, { transB: 1, dtype: dtype === 'float16' ? 10 : 16 }),
    ],
    dims: [tokens, dim],
  },
  'Add of a bias, 1': { inputs: x, nodes: (at) => [call('Add', ['x', 'bias'], at)], dims: [tokens, dim] },
  'BiasGelu, 4': {
    inputs: { wide: [tokens, hidden] },
    nodes: (at) => [call('com.microsoft.BiasGelu', ['wide', 'bias_4'], at)],
    dims: [tokens, hidden],
  },
  'Gelu of com.microsoft, 4': {
    inputs: { wide: [tokens, hidden] },
    nodes: (at) => [call('com.microsoft.Gelu', ['wide'], at)],
    dims: [tokens, hidden],
  },
  'Gelu of the standard, 4': {
    inputs: { wide: [tokens, hidden] },
    nodes: (at) => [call('Gelu', ['wide'], at)],
    dims: [tokens, hidden],
  },
  'FastGelu with a bias, 4': {
    inputs: { wide: [tokens, hidden] },
    nodes: (at) => [call('com.microsoft.FastGelu', ['wide', 'bias_4'], at)],
    dims: [tokens, hidden],
  },
  'SkipLayerNormalization, bias and sum': {
    inputs: { ...x, skip: [tokens, dim] },
    nodes: (at) => [
      {
        ...call('com.microsoft.SkipLayerNormalization', ['x', 'skip', 'ones', 'zeros', 'bias'], at),
        outputs: [at, '', '', `${at}_sum`],
      },
    ],
    dims: [tokens, dim],
  },
  'into rectangles: RestorePadding, 1': {
    inputs: x,
    nodes: (at) => [call('com.microsoft.RestorePadding', ['x', 'places'], at)],
    dims: [batch, longest, dim],
  },
  'into rectangles: RestorePadding, 3': {
    inputs: { wide: [tokens, 3 * dim] },
    nodes: (at) => [call('com.microsoft.RestorePadding', ['wide', 'places'], at)],
    dims: [batch, longest, 3 * dim],
  },
  'back: Gather': {
    inputs: rectangle,
    nodes: (at) => [call('Gather', ['rectangle', 'real'], at, { axis: 0 })],
    dims: [tokens, dim],
  },
  'back: Gather, int32 indices': {
    inputs: rectangle,
    nodes: (at) => [
      call('Gather', ['rectangle', 'real_ids'], `${at}_row`, { axis: 0 }),
      call('Reshape', [`${at}_row`, [tokens, dim]], at),
    ],
    dims: [tokens, dim],
  },
  'back: GatherND': {
    inputs: rectangle,
    nodes: (at) => [call('GatherND', ['rectangle', 'real_columns'], at)],
    dims: [tokens, dim],
  },
  'back: EmbedLayerNormalization': {
    inputs: rectangle,
    nodes: (at) => [
      {
        op: 'com.microsoft.EmbedLayerNormalization',
        inputs: ['real_ids', '', 'rectangle', 'zero_row', '', 'ones', 'zeros', '', 'no_ids'],
        outputs: [`${at}_norm`, '', `${at}_row`],
        attributes: {},
      },
      call('Reshape', [`${at}_row`, [tokens, dim]], at),
    ],
    dims: [tokens, dim],
  },
  'back: RestorePadding of all rows, Slice': {
    inputs: rectangle,
    nodes: (at) => [
      call('com.microsoft.RestorePadding', ['rectangle', 'first'], `${at}_all`),
      call('Reshape', [`${at}_all`, [rows, dim]], `${at}_flat`),
      call('Slice', [`${at}_flat`, [0], [tokens], [0]], at),
    ],
    dims: [tokens, dim],
  },
  'RestorePadding of all rows': {
    inputs: rectangle,
    nodes: (at) => [call('com.microsoft.RestorePadding', ['rectangle', 'first'], at)],
    dims: [1, rows, dim],
  },
  'Slice of the first rows': {
    inputs: rectangle,
    nodes: (at) => [call('Slice', ['rectangle', [0], [tokens], [0]], at)],
    dims: [tokens, dim],
  },
  'Split into the first rows and the rest': {
    inputs: rectangle,
    nodes: (at) => [{ ...call('Split', ['rectangle', [tokens, rows - tokens]], at, { axis: 0 }), outputs: [at, `${at}_rest`] }],
    dims: [tokens, dim],
  },
  'Split of q, k, v [3, tokens, 1]': {
    inputs: { stacked: [3, tokens, dim] },
    nodes: (at) => [{ ...call('Split', ['stacked'], at, { axis: 0, num_outputs: 3 }), outputs: [at, `${at}_k`, `${at}_v`] }],
    dims: [1, tokens, dim],
  },
  'loss: Cast, LogSoftmax, GatherElements, ReduceSum': then(
    { inputs: x, nodes: (at) => [call('Cast', ['x'], at, { to: 1 })], dims: [1, 1], output: 'float32' },
    (a, b) => call('LogSoftmax', [a], b, { axis: -1 }),
    (a, b) => call('GatherElements', [a, 'labels'], b, { axis: 1 }),
    (a, b) => call('ReduceSum', [a], b, { keepdims: 1 }),
  ),
});

function chain(dtype: DType, part: Part, copies: number): Chain {
  const nodes: Node[] = Object.entries(part.inputs).flatMap(([name, dims], i) => [
    ...wave(`${name}_large`, dims, dtype, 1 + i),
    call('Mul', [`${name}_large`, 'small'], name),
  ]);
  for (let i = 0; i < copies; i++) nodes.push(...part.nodes(`y${i}`));
  return chainOf(nodes, `y${copies - 1}`, part.dims, constantsOf(dtype));
}

/** Times every part. */
export async function runLayerParts(ort: Ort): Promise<void> {
  for (const dtype of dtypes)
    for (const [name, part] of Object.entries(parts(dtype))) {
      if (only && !only.includes(name)) continue;
      section(`${dtype}|${name}`);
      try {
        const options = { few: 2, more: 16, repetitions: 7, warmups: 1 };
        const { median, spread, sample } = await slopeOf((copies) => chain(dtype, part, copies), ort, device, options);
        result({ ms: median, spread, sample });
      } catch (error) {
        result({ error: (error as Error).message.replace(/\s+/g, ' ').slice(0, 200) });
      }
    }
}

/** Prints a table, and whether all ways back give the same rows. */
export function layerParts(folder: string): void {
  const outcomes = logged('run-layer-parts', folder).map((s) => {
    const [dtype, name] = s.name.split('|') as [string, string];
    return { dtype, name, ...(s.result as { ms?: number; spread?: number; sample?: number[]; error?: string }) };
  });
  table([
    ['dtype', 'part', 'ms', '±', 'some elements'],
    ...outcomes.map(({ dtype, name, ms, spread, sample, error }) => [
      dtype,
      name,
      ms?.toFixed(4) ?? error ?? '',
      spread?.toFixed(4) ?? '',
      sample
        ?.slice(0, 3)
        .map((y) => y.toFixed(4))
        .join(' ') ?? '',
    ]),
  ]);
  for (const dtype of dtypes) {
    const back = outcomes.filter((o) => o.dtype === dtype && o.name.startsWith('back: ') && o.sample);
    const differ = back.filter((o) => `${o.sample}` !== `${back[0]!.sample}`).map((o) => o.name);
    check(`${dtype}: all ways back give the same rows`, differ.length === 0, differ.join(', '));
  }
}
