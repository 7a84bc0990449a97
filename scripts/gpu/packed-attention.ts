// One layer's attention on packed tokens on a GPU, in every way that kernels offer, and the projections before it: the sequences of bench/varlen.ts.
import { varlenSizes } from '../../packages/onnxformers/src/bench/varlen';
import type { Ort } from '../../packages/onnxformers/src/index';
import { type Chain, type Constant, call, chainOf, type Name, type Node, slopeOf, wave } from './chains';
import { logged, result, section, table } from './report';

const device = process.env.DEVICE === 'cpu' ? 'cpu' : 'cuda';
const dtypes = (process.env.DTYPES ?? 'float16,bfloat16').split(',') as DType[];
const only = process.env.WAYS?.split(';');
type DType = 'float16' | 'bfloat16' | 'float32';

const { heads, headDim } = varlenSizes;
const lengths = process.env.SMALL === '1' ? [3, 11, 8] : varlenSizes.lengths;
const dim = heads * headDim;
const [batch, longest] = [lengths.length, Math.max(...lengths)];
const ends = lengths.map((_, i) => lengths.slice(0, i + 1).reduce((a, b) => a + b, 0));
const tokens = ends.at(-1)!;
const pageRows = Number(process.env.PAGE_ROWS ?? 256);
const pages = lengths.map((n) => Math.ceil(n / pageRows));
const mostPages = Math.max(...pages);

const ints = (values: readonly number[], dims = [values.length]): Constant => ({ dtype: 'int32', dims, values });
const real = lengths.flatMap((n, b) => Array.from({ length: n }, (_, i) => b * longest + i));
const padding = lengths.flatMap((n, b) => Array.from({ length: longest - n }, (_, i) => b * longest + n + i));
// Where each row of the rectangles goes if all real rows come first.
const first = new Array<number>(batch * longest);
[...real, ...padding].forEach((row, i) => {
  first[row] = i;
});
const starts = [0, ...ends.slice(0, -1)];
const within = lengths.flatMap((_, b) => Array.from({ length: longest }, (_, i) => Math.min(starts[b]! + i, tokens - 1)));

const long = (values: readonly number[], dims: readonly number[]): Constant => ({ dtype: 'int64', dims, values });
const constantsOf = (dtype: DType): Readonly<Record<Name, Constant>> => ({
  ends: ints([0, ...ends]),
  none_past: ints(lengths.map(() => 0)),
  lengths: ints(lengths),
  pages: ints(
    pages.flatMap((n, b) =>
      Array.from({ length: mostPages }, (_, i) => pages.slice(0, b).reduce((x, y) => x + y, 0) + Math.min(i, n - 1)),
    ),
    [batch, mostPages],
  ),
  most: ints([longest, longest]),
  places: ints([...real, ...padding], [batch, longest]),
  first: ints(first, [1, batch * longest]),
  real: long(real, [tokens]),
  real_ids: ints(real, [1, tokens]),
  no_ids: ints(Array(tokens).fill(0), [1, tokens]),
  ones: { dtype, dims: [dim], values: Array(dim).fill(1) },
  zero_row: { dtype, dims: [1, dim], values: Array(dim).fill(0) },
  within: long(within, [batch, longest]),
  pool_dims: long([pages.reduce((x, y) => x + y, 0), pageRows, heads, headDim], [4]),
  biases: { dtype, dims: [3 * dim], values: Array.from({ length: 3 * dim }, (_, i) => Math.sin(i) / 8) },
  bias: { dtype, dims: [dim], values: Array.from({ length: dim }, (_, i) => Math.sin(i) / 8) },
});

/** From q, k and v [tokens, dim] the result [tokens, dim]. */
type Way = (rows: readonly [Name, Name, Name], at: string) => readonly Node[];

const packed =
  (bias: boolean): Way =>
  (rows, at) => [
    call('com.microsoft.PackedMultiHeadAttention', [...rows, bias ? 'biases' : '', 'places', 'ends'], at, { num_heads: heads }),
  ];
const paged =
  (attributes: Readonly<Record<string, number>>): Way =>
  (rows, at) => [
    call(
      'com.microsoft.PagedAttention',
      [...rows, 'key_pool', 'value_pool', 'ends', 'none_past', 'pages', ...Array<Name>(8).fill(''), 'most'],
      at,
      { num_heads: heads, kv_num_heads: heads, ...attributes },
    ),
  ];

const into = {
  RestorePadding: (x: Name, y: Name): Node => call('com.microsoft.RestorePadding', [x, 'places'], y),
  Gather: (x: Name, y: Name): Node => call('Gather', [x, 'within'], y, { axis: 0 }),
};
const back = {
  Gather: (x: Name, y: Name): readonly Node[] => [
    call('Reshape', [x, [batch * longest, dim]], `${y}_flat`),
    call('Gather', [`${y}_flat`, 'real'], y, { axis: 0 }),
  ],
  // RestorePadding writes each row to a place of its own, so that the real rows come first.
  Slice: (x: Name, y: Name): readonly Node[] => [
    call('Reshape', [x, [batch * longest, dim]], `${y}_flat`),
    call('com.microsoft.RestorePadding', [`${y}_flat`, 'first'], `${y}_all`),
    call('Reshape', [`${y}_all`, [batch * longest, dim]], `${y}_first`),
    call('Slice', [`${y}_first`, [0], [tokens], [0]], y),
  ],
  // Its second result is the sum of the rows that it looks up, here one of them and zeros.
  EmbedLayerNormalization: (x: Name, y: Name): readonly Node[] => [
    call('Reshape', [x, [batch * longest, dim]], `${y}_flat`),
    {
      op: 'com.microsoft.EmbedLayerNormalization',
      inputs: ['real_ids', '', `${y}_flat`, 'zero_row', '', 'ones', 'ones', '', 'no_ids'],
      outputs: [`${y}_norm`, '', `${y}_row`],
      attributes: {},
    },
    call('Reshape', [`${y}_row`, [tokens, dim]], y),
  ],
  RemovePadding: (x: Name, y: Name): readonly Node[] => [
    {
      ...call('com.microsoft.RemovePadding', [x, 'lengths'], y),
      outputs: [y, `${y}_places`, `${y}_ends`, `${y}_longest`],
    },
  ],
};
interface Rectangles {
  readonly causal?: boolean;
  readonly to: keyof typeof into;
  readonly from: keyof typeof back;
  /** Causal queries do not reach the padding behind their sequence. */
  readonly without?: 'lengths';
  readonly standard?: boolean;
}
const rectangles =
  ({ causal = false, to, from, without, standard }: Rectangles): Way =>
  (rows, at) => [
    ...rows.map((x, i) => into[to](x, `${at}_${'qkv'[i]}`)),
    standard
      ? call(
          'Attention',
          [...'qkv'].map((x) => `${at}_${x}`),
          `${at}_rows`,
          { q_num_heads: heads, kv_num_heads: heads, ...(causal && { is_causal: 1 }) },
        )
      : call(
          'com.microsoft.MultiHeadAttention',
          [...[...'qkv'].map((x) => `${at}_${x}`), ...(without ? [] : ['', 'lengths'])],
          `${at}_rows`,
          { num_heads: heads, ...(causal && { unidirectional: 1 }) },
        ),
    ...back[from](`${at}_rows`, at),
  ];

const ways: Readonly<Record<string, Way>> = {
  PackedMultiHeadAttention: packed(false),
  'PackedMultiHeadAttention, biases inside': packed(true),
  'PagedAttention, causal': paged({}),
  'PagedAttention, bidirectional': paged({ is_causal: 0 }),
  'RestorePadding, MultiHeadAttention causal, Gather': rectangles({ causal: true, to: 'RestorePadding', from: 'Gather' }),
  'RestorePadding, MultiHeadAttention causal, EmbedLayerNormalization': rectangles({
    causal: true,
    to: 'RestorePadding',
    from: 'EmbedLayerNormalization',
  }),
  'RestorePadding, MultiHeadAttention causal, Slice': rectangles({ causal: true, to: 'RestorePadding', from: 'Slice' }),
  'RestorePadding, MultiHeadAttention causal without lengths, Slice': rectangles({
    causal: true,
    to: 'RestorePadding',
    from: 'Slice',
    without: 'lengths',
  }),
  'RestorePadding, Attention causal, Slice': rectangles({ causal: true, to: 'RestorePadding', from: 'Slice', standard: true }),
  'RestorePadding, MultiHeadAttention causal, RemovePadding': rectangles({
    causal: true,
    to: 'RestorePadding',
    from: 'RemovePadding',
  }),
  'RestorePadding, MultiHeadAttention bidirectional, Gather': rectangles({ to: 'RestorePadding', from: 'Gather' }),
  'Gather, MultiHeadAttention causal, Gather': rectangles({ causal: true, to: 'Gather', from: 'Gather' }),
  'Gather, MultiHeadAttention causal without lengths, Gather': rectangles({
    causal: true,
    to: 'Gather',
    from: 'Gather',
    without: 'lengths',
  }),
  'Gather, MultiHeadAttention bidirectional, Gather': rectangles({ to: 'Gather', from: 'Gather' }),
  // On the first rows alone, as a chain of maps of tokens: what a bias of the queries costs.
  MatMul: ([q], at) => [call('MatMul', [q, 'weight'], at)],
  'MatMul, Add of a bias': ([q], at) => [call('MatMul', [q, 'weight'], `${at}_map`), call('Add', [`${at}_map`, 'bias'], at)],
  'Gemm with a bias': ([q], at) => [call('Gemm', [q, 'weight', 'bias'], at)],
  'MatMul of 2 × the width': ([q], at) => [call('MatMul', [q, 'weight'], at), call('MatMul', [q, 'wide'], `${at}_unused`)],
};

function chain(dtype: DType, way: Way, copies: number): Chain {
  const nodes: Node[] = ['q', 'k', 'v'].flatMap((x, i) => wave(x, [tokens, dim], dtype, 1 + i));
  const type = { float16: 1, bfloat16: 2, float32: 0 }[dtype];
  for (const [pool, fill] of [
    ['key_pool', 0],
    ['value_pool', 0.5],
  ] as const)
    nodes.push({ op: 'pool', inputs: ['pool_dims'], outputs: [pool], attributes: { type, fill } });
  for (const [name, columns] of [
    ['weight', dim],
    ['wide', 2 * dim],
  ] as const) {
    nodes.push(...wave(`${name}_large`, [dim, columns], dtype, 5));
    nodes.push(call('Mul', [`${name}_large`, 'small'], name));
  }
  let q = 'q';
  for (let i = 0; i < copies; i++) {
    nodes.push(...way([q, 'k', 'v'], `y${i}`));
    q = `y${i}`;
  }
  return chainOf(nodes, q, [tokens, dim], { ...constantsOf(dtype), small: { dtype, dims: [], values: [1 / 24] } });
}

/** Times everything; run with ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1 it prints the kernels too. */
export async function runPackedAttention(ort: Ort): Promise<void> {
  for (const dtype of dtypes)
    for (const [name, way] of Object.entries(ways)) {
      if (only && !only.includes(name)) continue;
      section(`${dtype}|${name}`);
      try {
        const { median, spread, sample } = await slopeOf((copies) => chain(dtype, way, copies), ort, device, { more: 16 });
        result({ ms: median, spread, sample });
      } catch (error) {
        result({ error: (error as Error).message.replace(/\s+/g, ' ').slice(0, 300) });
      }
    }
}

/** Prints a table; results of one mask and dtype should agree. */
export function packedAttention(folder: string): void {
  const sections = logged('run-packed-attention', folder);
  table([
    ['dtype', 'way', 'ms', '±', 'some elements', 'kernels'],
    ...sections.map((s) => {
      const [dtype, name] = s.name.split('|') as [string, string];
      const { ms, spread, sample, error } = s.result as { ms?: number; spread?: number; sample?: number[]; error?: string };
      const some = sample?.slice(0, 3).map((x) => x.toFixed(4));
      return [
        dtype,
        name,
        ms?.toFixed(4) ?? error ?? '',
        spread?.toFixed(4) ?? '',
        some?.join(' ') ?? '',
        Object.keys(s.kernels).join(', '),
      ];
    }),
  ]);
}
