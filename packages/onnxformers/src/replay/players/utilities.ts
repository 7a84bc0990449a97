// Utilities of the original for masks and for nystrom.
import { pseudoInverse } from '@onnxformers/attention';
import { tensor, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import type { FixtureCase } from '../fixture-set';
import { type Inputs, type Player, playByHand } from '../play';

const additive = (keep: Value): Value => ops.where(keep, zero(keep), zero(keep, Number.NEGATIVE_INFINITY));
const zero = (near: Value, value = 0): Value => near.graph.root.number(value, 'float32');

/** Padding [batch, seq] for every head: [batch · heads, 1, seq]. */
function folded(padding: Value, heads: number): Value {
  const [batch, seq] = padding.dims as [number, number];
  return ops.reshape(ops.expand(ops.unsqueeze(padding, [1]), [batch, heads, seq]), [batch * heads, 1, seq]);
}

/** Padding of keys for every head, alone or together with an attention mask. */
export const maskUtils: Player = (c) => {
  const heads = Number(c.config.num_heads ?? 1);
  return playByHand({}, new Map(), Object.fromEntries(c.in), ({ key_padding_mask, att_mask, m }) => {
    if (!key_padding_mask) return { mask: additive(m ?? att_mask!) };
    const padding = folded(key_padding_mask, heads);
    const [count, , seq] = padding.dims as [number, number, number];
    const target = c.config.tgt_len === undefined ? padding.dims[1]! : Number(c.config.tgt_len);
    if (!att_mask) return { mask: ops.expand(padding, [count, target, seq]) };
    return { mask: att_mask.dtype === 'bool' ? ops.logicalAnd(att_mask, padding) : ops.add(att_mask, additive(padding)) };
  });
};

/** Causal masks, and masks made of others. */
export const attentionMask: Player = (c) => (c.in.size ? sums(c) : triangles(c));

const sums = (c: FixtureCase) =>
  playByHand({}, new Map(), Object.fromEntries(c.in), ({ a, b }) => {
    const from_bool = ops.unsqueeze(additive(a!), [0]);
    const sum = ops.add(from_bool, b!);
    return { from_bool, sum, sum_bool: ops.greater(sum, Number.NEGATIVE_INFINITY) };
  });

function triangles(c: FixtureCase) {
  const rows = Number(c.config.seq_len);
  const columns = Number(c.config.to_seq_len ?? rows);
  // A graph has at least one input.
  const feeds = { ones: tensor('float32', [rows, Math.max(rows, columns)], new Array(rows * Math.max(rows, columns)).fill(1)) };
  return playByHand({}, new Map(), feeds, ({ ones }: Inputs) => {
    const cut = (size: readonly number[]) =>
      ops.unsqueeze(ops.slice(additive(ops.greater(ops.tril(ones!), 0)), { axes: [0, 1], starts: [0, 0], ends: size }), [0]);
    const crop = c.out.get('crop')?.dims.slice(1);
    return { square: cut([rows, rows]), rect: cut([rows, columns]), ...(crop && { crop: cut(crop) }) };
  });
}

/** The iterative pseudo-inverse. */
export const iterativePinv: Player = (c) =>
  playByHand({}, new Map(), Object.fromEntries(c.in), ({ k }) => ({
    y: pseudoInverse(k!, { iterations: Number(c.config.n_iter ?? 6), sharedScale: c.config.pinverse_original_init === true }),
  }));
