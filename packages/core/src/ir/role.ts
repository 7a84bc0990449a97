// Roles of a model's inputs. After the declaration only roles are read, never names.

/** Roles that a declared input may have. */
export const inputRoles = [
  'data',
  'sequence',
  'keyValue',
  'lengths',
  'keyPadding',
  'denseMask',
  'additiveMask',
  'attentionBias',
  'positionIds',
  'tokenTypeIds',
  'memory',
  'memoryLengths',
  'memoryKeyPadding',
] as const;

/**
 * The role of a declared input.
 *
 * - `sequence`          the tokens that attend: ids [batch, seq], embeddings [batch, seq, dim] or heads [batch, heads, seq, head_dim];
 *                       packed [tokens, …]
 * - `keyValue`          float [batch, kv_heads, kv_seq, head_dim]: keys or values of heads that the queries attend to
 * - `lengths`           int64 [batch]: number of real positions of each sequence; the rest is padding on the right
 * - `keyPadding`        bool, int64 or int32 [batch, kv_seq]: 0 for padding, which no query attends to (key padding mask)
 * - `denseMask`         bool [batch or 1, heads or 1, seq or 1, kv_seq]: true for pairs of query and key that may attend (dense mask)
 * - `additiveMask`      float [batch, kv_seq] or [batch or 1, heads or 1, seq or 1, kv_seq]: added to every score; half of the lowest number
 *                       of its dtype, and all below it, hides the key
 * - `attentionBias`     float [batch or 1, heads or 1, seq, kv_seq]: added to every score; hides nothing
 * - `positionIds`       int64 [batch, seq], packed [tokens]: positions of the tokens, instead of 0, 1, 2, …
 * - `tokenTypeIds`      int64 [batch, seq], packed [tokens]: the segment of each token, such as BERT's sentence A or B
 * - `memory`            float [batch, memory_seq, dim], packed [memory_tokens, dim]: what cross attention attends to
 * - `memoryLengths`     as `lengths`, of the memory
 * - `memoryKeyPadding`  as `keyPadding`, of the memory
 * - `data`              none of these: a tensor that only the model's own code reads
 */
export type DeclaredRole = (typeof inputRoles)[number];

/**
 * The role of an input: declared, or that of a state between calls: keys or values of the sequences (`pastKeyValue`) and of the memory
 * (`pastMemory`), and a recurrent state (`pastRecurrent`).
 */
export type InputRole = DeclaredRole | 'pastKeyValue' | 'pastMemory' | 'pastRecurrent';

/** True for the state that the last call returned. */
export const isPastRole = (role: InputRole | undefined): boolean =>
  role === 'pastKeyValue' || role === 'pastMemory' || role === 'pastRecurrent';
