// Patterns as tensors of flags, and as masks.
import { checkArguments, lookupFlag, type Mask, maskMod, randomStream, type Tensor, tensor, toArray } from '@onnxformers/core';
import { alibiSlopes } from '@onnxformers/positional';
import { fault } from './grid';

/**
 * A tensor of flags as a mask: query i attends to key j if `pattern[i, j]`, of head h if `pattern[h, i, j]`. An axis of heads or queries of size 1 serves all. A longer
 * sequence is refused if its length is known before a run; otherwise its positions outside of the pattern attend to nothing. It combines with other masks by `and`, `or`
 * and `not`.
 *
 * Shapes   pattern bool [seq, kv_seq], [heads, seq, kv_seq] or [heads, 1, kv_seq]
 * Throws   ShapeError for another dtype or rank
 * Example  const mask = and(causal, fromPattern(tensor('bool', [2, 2], [1, 0, 1, 1])));
 */
export function fromPattern(pattern: Tensor): Mask<Tensor> {
  checkArguments('fromPattern', { tensor: pattern });
  const { dtype, dims } = pattern;
  if (dtype !== 'bool' || (dims.length !== 2 && dims.length !== 3))
    throw fault('fromPattern', 'not a pattern', 'bool [seq, kv_seq] or [heads, seq, kv_seq]', `${dtype} [${dims.join(', ')}]`);
  const [rows, columns] = dims.slice(-2) as [number, number];
  const heads = dims.length === 3 ? dims[0]! : 1;
  const table = { ...pattern, dims: heads === 1 ? [rows, columns] : dims };
  return maskMod((_b, h, q, k) => {
    const row = rows === 1 ? 0 : q;
    return heads === 1 ? lookupFlag(table, row, k) : lookupFlag(table, h, row, k);
  });
}

/**
 * So many pairs of a query and a key, drawn without replacement with probabilities proportional to a matrix. The same on every machine.
 *
 * Shapes   probabilities [seq, kv_seq] → bool [seq, kv_seq]
 * Throws   ShapeError for negative probabilities, and for fewer pairs of positive probability than `count` · ConfigError for a wrong seed
 * Source   Efraimidis and Spirakis 2006, https://doi.org/10.1016/j.ipl.2005.11.003
 * Example  const pattern = samplePairs(gridGaussian([8, 8]), 512, 1);
 */
export function samplePairs(probabilities: Tensor, count: number, seed: number): Tensor {
  checkArguments('samplePairs', { tensor: probabilities });
  const weights = Array.from(toArray(probabilities).data);
  const possible = weights.filter((w) => w > 0).length;
  if (weights.some((w) => !(w >= 0 && Number.isFinite(w))))
    throw fault(
      'samplePairs',
      'not probabilities',
      'finite numbers of at least 0',
      weights.find((w) => !(w >= 0 && Number.isFinite(w))),
    );
  if (!Number.isSafeInteger(count) || count < 0 || count > possible)
    throw fault('samplePairs.count', 'not a number of pairs', `an integer from 0 to ${possible}`, count);
  const uniform = new Float64Array(weights.length);
  randomStream(seed, 'samplePairs').uniform(uniform);
  // The largest keys of u^(1/w) are such a sample: here log u / w, which does not underflow.
  const keys = weights.map((w, i) => (w > 0 ? Math.log(uniform[i]!) / w : Number.NEGATIVE_INFINITY));
  const chosen = keys.map((_, i) => i).sort((a, b) => keys[b]! - keys[a]! || a - b);
  const data = new Uint8Array(weights.length);
  for (const i of chosen.slice(0, count)) data[i] = 1;
  return tensor('bool', probabilities.dims, data);
}

/**
 * The keys of each head whose linear bias is below a threshold: slope_h · key < threshold. Heads with steep slopes attend only to the first keys.
 *
 * Shapes   → bool [heads, 1, seq]
 * Throws   ShapeError for sizes below 1
 * Source   Press et al. 2021, https://arxiv.org/abs/2108.12409
 * Example  const mask = fromPattern(alibiPattern({ heads: 8, seq: 64, threshold: 2 }));
 */
export function alibiPattern(options: { readonly heads: number; readonly seq: number; readonly threshold: number }): Tensor {
  checkArguments('alibiPattern', { options });
  const { heads, seq, threshold } = options;
  for (const size of [heads, seq])
    if (!Number.isSafeInteger(size) || size < 1) throw fault('alibiPattern', 'not a size', 'an integer of at least 1', size);
  const data = alibiSlopes(heads).flatMap((slope) => Array.from({ length: seq }, (_, key) => Number(slope * key < threshold)));
  return tensor('bool', [heads, 1, seq], data);
}
