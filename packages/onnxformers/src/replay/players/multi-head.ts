// Multi-head attention: the dispatcher, its projections, and the one with a fused projection.
import { linear, type Memory, padded, type SequenceContext, type Tensor, type Value, withContext } from '@onnxformers/core';
import type { FixtureCase, Group } from '../fixture-set';
import { build, type Player, playByHand, playOf, recorded, tensorOf, weightsOf } from '../play';
import { type Masking, masked, maskOf, paddingByHead, paddingOf } from './masks';
import { recordedPattern } from './random-pattern';
import { recordedDraws } from './recorded-draws';
import { recordedLayout } from './recorded-layout';

/** A memory with separate keys and values. */
export const memoryOf = (rows: Value, valueRows: Value, { mask, bias }: Masking): Memory => ({
  hiddenStates: rows,
  valueStates: valueRows,
  mask,
  layout: padded,
  ...(bias && { bias }),
});

type Config = Readonly<Record<string, unknown>>;

/** The dispatcher on query, key and value; missing ones are the query. */
export const multiHeadDispatch: Player = (c) => {
  const config = dispatchConfig(c);
  const heads = Number(config.num_heads);
  const feeds = feedsOf(c, heads);
  const cross = feeds.key !== undefined || feeds.value !== undefined;
  const pattern = recordedPattern(c);
  const built = build('mixer', config, weightsOf(c), recorded, (ours) =>
    pattern.change(cross && ['multi_head', 'compositional'].includes(String(ours.name)) ? { ...ours, cross } : ours),
  );
  const play = playOf(built, { ...feeds, ...pattern.feeds }, (block, inputs, ctx) => {
    const { query, key = query, value = query } = inputs;
    const sizes = { batch: query!.dims[0] as number, heads, seq: query!.dims[1] as number, kvSeq: key!.dims[1] as number };
    const masks = [maskOf(inputs.att_mask, sizes, c), paddingOf(inputs.key_padding_mask), pattern.mask(inputs)];
    const seen = masked(ctx, ...masks);
    if (!cross) return { y: block(query!, seen) };
    const memory = memoryOf(key!, value!, seen);
    const { causal } = config.attention as { readonly causal?: boolean };
    return { y: block(query!, acrossTo(ctx, causal ? { ...memory, sameSequence: true } : memory)) };
  });
  const seqOf = (name: string): number => (feeds[name] ?? tensorOf(c.in, 'query')).dims[1]!;
  return { ...play, draws: recordedDraws(c, 'block.attention', seqOf('query'), seqOf('key')) };
};

/** Compositional attention on query, key and value. */
export const compositional: Player = (c) => {
  const heads = Number(c.config.num_heads);
  const built = build('mixer', c.config, weightsOf(c), recorded, (ours) => ({ ...ours, cross: true }));
  return playOf(built, Object.fromEntries(c.in), (block, inputs, ctx) => {
    const { q, k, v } = inputs;
    const sizes = { batch: q!.dims[0] as number, heads, seq: q!.dims[1] as number, kvSeq: k!.dims[1] as number };
    // The original reads tensors only, and ignores other masks.
    const given = c.call.att_mask_as === undefined ? maskOf(inputs.att_mask, sizes, c) : undefined;
    const memory = memoryOf(k!, v!, masked(ctx, given));
    return { y: block(q!, acrossTo(ctx, c.config.causal ? { ...memory, sameSequence: true } : memory)) };
  });
};

/** A context whose cross attention reads this memory. */
export const acrossTo = (ctx: SequenceContext, memory: Memory): SequenceContext => withContext(ctx, { memory });

function dispatchConfig(c: FixtureCase): Config {
  const { multi_head, attention } = c.config as { multi_head: Config; attention: Config };
  // The records describe a module of the caller as text.
  const { in_proj_container: _, out_proj, ...rest } = multi_head;
  const own = typeof out_proj === 'string' ? { out_proj: { out_features: tensorOf(c.param, 'proj.weight').dims[0] } } : {};
  const layout = recordedLayout(c);
  return { ...rest, ...own, attention: layout ? { ...attention, layout } : attention };
}

function feedsOf(c: FixtureCase, heads: number): Record<string, Tensor> {
  const feeds = Object.fromEntries(c.in);
  const batch = Math.max(...['query', 'key', 'value'].flatMap((name) => feeds[name]?.dims[0] ?? []));
  for (const name of ['query', 'key', 'value']) if (feeds[name]) feeds[name] = repeated(feeds[name], batch);
  const { padding } = paddingByHead(feeds.key_padding_mask, heads);
  return { ...feeds, ...(padding && { key_padding_mask: padding }) };
}

// One sequence that is repeated for the batch.
function repeated(t: Tensor, batch: number): Tensor {
  const [own, ...dims] = t.dims;
  if (own === batch || own !== 1) return t;
  const once = Float32Array.from(t.data as Float32Array);
  const data = new Float32Array(once.length * batch);
  for (let b = 0; b < batch; b++) data.set(once, b * once.length);
  return { dtype: t.dtype, dims: [batch, ...dims], data };
}

/** Only the three projections: one linear map for each weight. */
export const inputProjection: Player = (c) => {
  const maps = ['q', 'k', 'v'].map((name) => [name, `${name}_proj`] as const);
  const children = Object.fromEntries(maps.map(([, map]) => [map, linearOf(c.param, map)]));
  return playByHand(children, c.param, Object.fromEntries(c.in), ({ query, key, value }) =>
    Object.fromEntries(maps.map(([name, map], i) => [name, children[map]!([query, key, value][i]!)])),
  );
};

function linearOf(weights: Group, name: string) {
  const [to, from] = tensorOf(weights, `${name}.weight`).dims as [number, number];
  return linear(from, to, { bias: weights.has(`${name}.bias`) });
}

/** Multi-head attention with one projection, and a fixed mask. */
export const timmSparseAttention: Player = (c) => {
  const built = build('mixer', c.config, weightsOf(c));
  const heads = Number(c.config.num_heads ?? 8);
  return playOf(built, Object.fromEntries(c.in), (block, { x, attn_mask }, ctx) => {
    const [batch, seq] = x!.dims as [number, number];
    return { y: block(x!, masked(ctx, maskOf(attn_mask, { batch, heads, seq, kvSeq: seq }, c))) };
  });
};
