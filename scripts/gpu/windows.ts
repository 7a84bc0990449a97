// Causal attention within a window on a GPU: kernels with a window of their own, and blocks as the sequences of one attention, timed by the slope between chains.
import type { DType, Ort } from '../../packages/onnxformers/src/index';
import { type Chain, call, chainOf, type Name, type Node, slopeOf, wave } from './chains';
import { logged, result, section, table } from './report';

const device = process.env.DEVICE === 'cpu' ? 'cpu' : 'cuda';
const only = process.env.ONLY?.split(';');
const seqs = (process.env.LENGTHS ?? '16384,8192,4096').split(',').map(Number);
const window = Number(process.env.WINDOW ?? 512);
const [heads, headDim, pageRows] = [8, 64, 256];
const dim = heads * headDim;
const dtype: DType = 'float16';

/** From q, k and v [1, seq, dim] the result, of the same dims. */
type Way = (rows: readonly [Name, Name, Name], at: string, seq: number) => readonly Node[];

const plain =
  (causal: boolean): Way =>
  (rows, at) => [
    call('com.microsoft.MultiHeadAttention', [...rows], at, { num_heads: heads, ...(causal && { unidirectional: 1 }) }),
  ];

const grouped: Way = (rows, at) => [
  {
    ...call('com.microsoft.GroupQueryAttention', [...rows, '', '', 'last_keys', 'all_keys'], at, {
      num_heads: heads,
      kv_num_heads: heads,
      local_window_size: window,
    }),
    outputs: [at, `${at}_present_k`, `${at}_present_v`],
  },
];

const paged: Way = (rows, at, seq) => [
  ...rows.map((x, i) => call('Reshape', [x, [seq, dim]], `${at}_${'qkv'[i]}`)),
  call(
    'com.microsoft.PagedAttention',
    [
      ...[...'qkv'].map((x) => `${at}_${x}`),
      'key_pool',
      'value_pool',
      'ends',
      'none_past',
      'pages',
      ...Array<Name>(8).fill(''),
      'most',
    ],
    `${at}_rows`,
    { num_heads: heads, kv_num_heads: heads, local_window_size: window },
  ),
  call('Reshape', [`${at}_rows`, [1, seq, dim]], at),
];

/** Blocks of queries with the blocks of keys before them; those before the first key are zeros, which only the ways with a bias for each block hide. */
const blocks =
  (block: number, bias: 'shared' | 'of each block' | 'none'): Way =>
  (rows, at, seq) => {
    const [n, width] = [seq / block, window + block];
    const inWindows = (x: Name, y: Name): readonly Node[] => [
      call('Concat', ['front', x], `${y}_whole`, { axis: 1 }),
      ...Array.from({ length: width / block }, (_, i) => [
        call('Slice', [`${y}_whole`, [i * block], [i * block + seq], [1]], `${y}_part${i}`),
        call('Reshape', [`${y}_part${i}`, [n, block, dim]], `${y}_rows${i}`),
      ]).flat(),
      call(
        'Concat',
        Array.from({ length: width / block }, (_, i) => `${y}_rows${i}`),
        y,
        { axis: 1 },
      ),
    ];
    const biases = { shared: [`bias${block}`], 'of each block': [`biases${block}`], none: [] }[bias];
    return [
      call('Reshape', [rows[0], [n, block, dim]], `${at}_q`),
      ...inWindows(rows[1], `${at}_k`),
      ...inWindows(rows[2], `${at}_v`),
      call(
        'com.microsoft.MultiHeadAttention',
        [`${at}_q`, `${at}_k`, `${at}_v`, ...(biases.length ? ['', '', ...biases] : [])],
        `${at}_y`,
        {
          num_heads: heads,
        },
      ),
      call('Reshape', [`${at}_y`, [1, seq, dim]], at),
    ];
  };

const sizes = [128, 256, 512] as const;
const ways: Readonly<Record<string, Way>> = {
  'all pairs': plain(false),
  'all pairs, causal': plain(true),
  GroupQueryAttention: grouped,
  PagedAttention: paged,
  ...Object.fromEntries(
    sizes.flatMap((n) =>
      (['shared', 'of each block', 'none'] as const).map((bias) => [`blocks of ${n}, bias ${bias}`, blocks(n, bias)] as const),
    ),
  ),
};

function chain(way: Way, seq: number, copies: number): Chain {
  const rows = [1, seq, dim];
  const nodes: Node[] = [...'qkv'].flatMap((x, i) => [...wave(x, rows, dtype, 1 + i)]);
  for (const [pool, fill] of [
    ['key_pool', 0],
    ['value_pool', 0.5],
  ] as const)
    nodes.push({ op: 'pool', inputs: ['pool_dims'], outputs: [pool], attributes: { type: 1, fill } });
  for (const n of sizes) nodes.push(call('Expand', [`bias${n}`, [seq / n, 1, n, window + n]], `biases${n}`));
  let q = 'q';
  for (let i = 0; i < copies; i++) {
    nodes.push(...way([q, 'k', 'v'], `y${i}`, seq));
    q = `y${i}`;
  }
  // Only what this way reads: an unread bias would still be expanded.
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const kept = nodes.filter(({ op, outputs }) => op !== 'Expand' || outputs.some((y) => read.has(y)));
  const pages = Math.ceil(seq / pageRows);
  const ints = (values: readonly number[], dims: readonly number[] = [values.length]) =>
    ({ dtype: 'int32', dims, values }) as const;
  const band = (n: number): readonly number[] =>
    Array.from({ length: n * (window + n) }, (_, i) => {
      const [row, key] = [Math.floor(i / (window + n)), i % (window + n)];
      return key > row && key <= row + window ? 0 : -60_000;
    });
  const biasesRead = sizes.filter(
    (n) => read.has(`biases${n}`) || nodes.some(({ op, inputs }) => op !== 'Expand' && inputs.includes(`bias${n}`)),
  );
  return chainOf(kept, q, rows, {
    front: { dtype, dims: [1, window, dim], values: Array(window * dim).fill(0) },
    ...Object.fromEntries(biasesRead.map((n) => [`bias${n}`, { dtype, dims: [1, 1, n, window + n], values: band(n) }])),
    last_keys: ints([seq - 1]),
    all_keys: ints([seq]),
    ends: ints([0, seq]),
    none_past: ints([0]),
    pages: ints(
      Array.from({ length: pages }, (_, i) => i),
      [1, pages],
    ),
    most: ints([seq, seq]),
    pool_dims: { dtype: 'int64', dims: [4], values: [pages, pageRows, heads, headDim] },
  });
}

/** Times everything; run with ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1 it prints the kernels too. */
export async function runWindows(ort: Ort): Promise<void> {
  for (const seq of seqs)
    for (const [name, way] of Object.entries(ways)) {
      if (only && !only.includes(name)) continue;
      section(`${seq}|${name}`);
      try {
        const { median, spread, sample } = await slopeOf((copies) => chain(way, seq, copies), ort, device, { more: 14 });
        result({ ms: median, spread, sample });
      } catch (error) {
        result({ error: (error as Error).message.replace(/\s+/g, ' ').slice(0, 300) });
      }
    }
}

/** Prints a table; all ways with a window should agree in the last rows. */
export function windows(folder: string): void {
  table([
    ['seq', 'way', 'ms', '±', 'some elements', 'kernels'],
    ...logged('run-windows', folder).map((s) => {
      const [seq, name] = s.name.split('|') as [string, string];
      const { ms, spread, sample, error } = s.result as { ms?: number; spread?: number; sample?: number[]; error?: string };
      return [
        seq,
        name,
        ms?.toFixed(4) ?? error ?? '',
        spread?.toFixed(4) ?? '',
        sample
          ?.slice(0, 3)
          .map((x) => x.toFixed(4))
          .join(' ') ?? '',
        Object.keys(s.kernels).join(', '),
      ];
    }),
  ]);
}
