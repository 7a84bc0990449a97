// Attention with shared key heads and without a cache on a GPU: every way to compute it, timed by the slope between short and long chains of one
// graph. torch-sdpa.py with the same heads is the reference.
import { type AttentionSizes, attentionFlops } from '../../packages/onnxformers/src/bench/attention';
import type { Ort } from '../../packages/onnxformers/src/index';
import { type Chain, call, chainOf, type Name, type Node, slopeOf, wave } from './chains';
import { logged, result, section, table } from './report';

export const sizesAt = (seq: number, tokens: number): AttentionSizes => ({
  batch: tokens / seq,
  heads: 32,
  kvHeads: 8,
  headDim: 128,
  seq,
  causal: true,
});

/** One attention: from q, k and v, [batch, seq, heads · head_dim], the result; nodes are appended. */
type Way = (s: AttentionSizes, rows: readonly [Name, Name, Name], at: string, add: (...nodes: readonly Node[]) => Name) => Name;

const rowsOf = (s: AttentionSizes, heads = s.kvHeads): number[] => [s.batch, s.seq, heads * s.headDim];
const count = (s: AttentionSizes): number => s.batch * s.seq * s.kvHeads;
const times = (s: AttentionSizes): number => s.heads / s.kvHeads;

const multiHead = (s: AttentionSizes, [q, k, v]: readonly Name[], at: string): Node =>
  call('com.microsoft.MultiHeadAttention', [q!, k!, v!], at, { num_heads: s.heads, unidirectional: 1 });

/** MultiHeadAttention on keys and values that `repeat` repeats for all query heads. */
const onRepeated =
  (repeat: (s: AttentionSizes, rows: Name, at: string) => readonly Node[]): Way =>
  (s, [q, k, v], at, add) => {
    const [wideK, wideV] = [k, v].map((rows, i) => add(...repeat(s, rows, `${at}_${'kv'[i]}`)));
    return add(multiHead(s, [q, wideK!, wideV!], at));
  };
const reshaped = (x: Name, dims: readonly number[], y: Name): Node => call('Reshape', [x, dims], y, {});

const repetitions: Readonly<Record<string, (s: AttentionSizes, rows: Name, at: string) => readonly Node[]>> = {
  Expand: (s, rows, at) => [
    reshaped(rows, [s.batch, s.seq, s.kvHeads, 1, s.headDim], `${at}_apart`),
    call('Expand', [`${at}_apart`, [s.batch, s.seq, s.kvHeads, times(s), s.headDim]], `${at}_wide`, {}),
    reshaped(`${at}_wide`, rowsOf(s, s.heads), at),
  ],
  // A copy of rows of memory: one axis that is repeated, behind one that is not.
  Tile: (s, rows, at) => [
    reshaped(rows, [count(s), s.headDim], `${at}_apart`),
    call('Tile', [`${at}_apart`, [1, times(s)]], `${at}_wide`, {}),
    reshaped(`${at}_wide`, rowsOf(s, s.heads), at),
  ],
  Concat: (s, rows, at) => [
    reshaped(rows, [count(s), s.headDim], `${at}_apart`),
    call(
      'Concat',
      Array.from({ length: times(s) }, () => `${at}_apart`),
      `${at}_wide`,
      { axis: 1 },
    ),
    reshaped(`${at}_wide`, rowsOf(s, s.heads), at),
  ],
  Gather: (s, rows, at) => [
    reshaped(rows, [s.batch * s.seq, s.kvHeads, s.headDim], `${at}_apart`),
    call('Gather', [`${at}_apart`, Array.from({ length: s.heads }, (_, i) => Math.floor(i / times(s)))], `${at}_wide`, {
      axis: 1,
    }),
    reshaped(`${at}_wide`, rowsOf(s, s.heads), at),
  ],
  // Exact in 16 bits: each sum has one term, times 1.
  'MatMul by [I I …]': (s, rows, at) => [
    reshaped(rows, [count(s), s.headDim], `${at}_apart`),
    call('MatMul', [`${at}_apart`, 'identities'], `${at}_wide`, {}),
    reshaped(`${at}_wide`, rowsOf(s, s.heads), at),
  ],
  // Whole heads of a sequence as rows of memory: the kernel takes keys and values as [batch, heads, seq, head_dim] too.
  'Transpose, Tile': (s, rows, at) => [
    reshaped(rows, [s.batch, s.seq, s.kvHeads, s.headDim], `${at}_apart`),
    call('Transpose', [`${at}_apart`], `${at}_turned`, { perm: [0, 2, 1, 3] }),
    reshaped(`${at}_turned`, [s.batch * s.kvHeads, s.seq * s.headDim], `${at}_flat`),
    call('Tile', [`${at}_flat`, [1, times(s)]], `${at}_wide`, {}),
    reshaped(`${at}_wide`, [s.batch, s.heads, s.seq, s.headDim], at),
  ],
};

export const ways: Readonly<Record<string, Way>> = {
  'Attention, grouped heads': (s, rows, at, add) =>
    add(call('Attention', rows, at, { q_num_heads: s.heads, kv_num_heads: s.kvHeads, is_causal: 1 })),
  GroupQueryAttention: (s, rows, at, add) =>
    add({
      ...call('com.microsoft.GroupQueryAttention', [...rows, '', '', 'last_keys', 'all_keys'], at, {
        num_heads: s.heads,
        kv_num_heads: s.kvHeads,
      }),
      outputs: [at, `${at}_keys`, `${at}_values`],
    }),
  // As if keys and values had as many heads: the kernel without any repetition.
  'MultiHeadAttention alone': (s, [q], at, add) => add(multiHead(s, [q, 'k_wide', 'v_wide'], at)),
  ...Object.fromEntries(Object.entries(repetitions).map(([name, repeat]) => [`${name}, MultiHeadAttention`, onRepeated(repeat)])),
};

const device = process.env.DEVICE === 'cpu' ? 'cpu' : 'cuda';
const small = process.env.SMALL === '1';
const seqs = (process.env.SEQS ?? (small ? '64,128' : '512,2048,8192,16384')).split(',').map(Number);
const dtypes = (process.env.DTYPES ?? 'float16,bfloat16').split(',') as ('float16' | 'bfloat16' | 'float32')[];
const only = process.env.WAYS?.split(';');

export function chain(s: AttentionSizes, dtype: 'float16' | 'bfloat16' | 'float32', way: Way, copies: number): Chain {
  const nodes: Node[] = [
    ...wave('q', rowsOf(s, s.heads), dtype, 1),
    ...['k', 'v'].flatMap((x, i) => wave(x, rowsOf(s), dtype, 2 + i)),
  ];
  const identity = Array.from({ length: s.headDim * s.headDim * times(s) }, (_, i) =>
    Math.floor(i / (s.headDim * times(s))) === i % s.headDim ? 1 : 0,
  );
  const constants = {
    identities: { dtype, dims: [s.headDim, s.headDim * times(s)], values: identity },
    last_keys: { dtype: 'int32', dims: [s.batch], values: Array.from({ length: s.batch }, () => s.seq - 1) },
    all_keys: { dtype: 'int32', dims: [1], values: [s.seq] },
  } as const;
  const add = (...more: readonly Node[]): Name => {
    nodes.push(...more);
    return more.at(-1)!.outputs[0]!;
  };
  let q = 'q';
  // Once, outside of what is timed, because it is in both chains.
  if (way === ways['MultiHeadAttention alone']) for (const x of 'kv') add(...repetitions.Tile!(s, x, `${x}_wide`));
  for (let i = 0; i < copies; i++) q = way(s, [q, 'k', 'v'], `y${i}`, add);
  return chainOf(nodes, q, rowsOf(s, s.heads), constants);
}

interface Figure {
  readonly ms: number;
  readonly spread: number;
  readonly tflops: number;
  /** Some elements of one call. */
  readonly sample: readonly number[];
}

/** Times everything; run with ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1 it prints the kernels too. */
export async function runSharedHeads(ort: Ort): Promise<void> {
  for (const dtype of device === 'cpu' ? (['float32'] as const) : dtypes)
    for (const seq of seqs)
      for (const [name, way] of Object.entries(ways)) {
        if (only && !only.includes(name)) continue;
        const s = sizesAt(seq, small ? 256 : 16384);
        section(`${dtype}|${seq}|${name}`);
        try {
          const { median, spread, sample } = await slopeOf((copies) => chain(s, dtype, way, copies), ort, device);
          result({ ms: median, spread, tflops: attentionFlops(s) / median / 1e9, sample });
        } catch (error) {
          result({ error: (error as Error).message.replace(/\s+/g, ' ').slice(0, 300) });
        }
      }
}

/** Prints a table for each dtype and length. */
export function sharedHeads(folder: string): void {
  const sections = logged('run-shared-heads', folder);
  const rows = sections.map((s) => {
    const [dtype, seq, name] = s.name.split('|') as [string, string, string];
    return {
      dtype,
      seq,
      name,
      kernels: Object.keys(s.kernels).join(', ') || 'none printed',
      ...(s.result as Partial<Figure> & { readonly error?: string }),
    };
  });
  const alone = (r: (typeof rows)[number]) =>
    rows.find((o) => o.dtype === r.dtype && o.seq === r.seq && o.name === 'MultiHeadAttention alone')?.ms;
  const reference = (r: (typeof rows)[number]) => rows.find((o) => o.dtype === r.dtype && o.seq === r.seq && o.sample)?.sample;
  table([
    ['dtype', 'seq', 'way', 'ms', '±', 'TFLOP/s', 'beyond MHA alone, ms', 'difference', 'kernels'],
    ...rows.map((r) => [
      r.dtype,
      r.seq,
      r.name,
      r.ms?.toFixed(4) ?? r.error ?? '',
      r.spread?.toFixed(4) ?? '',
      r.tflops?.toFixed(0) ?? '',
      r.ms !== undefined && alone(r) !== undefined ? (r.ms - alone(r)!).toFixed(3) : '',
      r.sample ? Math.max(...r.sample.map((x, i) => Math.abs(x - reference(r)![i]!))).toExponential(1) : '',
      r.kernels,
    ]),
  ]);
}
