// Roles of inputs: declared roles, names with a role by default, and the types that each role accepts.
import type { Dim } from '../dim/dim';
import { ConfigError } from '../error';
import { printType } from '../ir/define-op';
import { type DeclaredRole, type GraphBuilder, type InputRole, inputOf, type Value } from '../ir/graph';
import { type DType, isFloat } from '../tensor/tensor';
import type { NamedInputs } from './named-ports';

/** Inputs of a model by name. */
export type Inputs = Readonly<Record<string, Value>>;

/**
 * The default role of an input of this name; undefined for names without one. These are the usual names; the role `'data'`
 * removes the default.
 */
export function defaultRole(name: string, rank: number): DeclaredRole | undefined {
  if (name === 'attention_mask') return rank === 4 ? 'denseMask' : 'keyPadding';
  const role = Object.hasOwn(defaults, name) ? defaults[name as keyof typeof defaults] : undefined;
  if (role === 'keyValue' && rank !== 4) return 'data';
  return role === 'sequence' && rank === 0 ? undefined : role;
}
const defaults: { readonly [N in keyof NamedInputs<unknown>]?: DeclaredRole } = {
  ids: 'sequence',
  x: 'sequence',
  q: 'sequence',
  k: 'keyValue',
  v: 'keyValue',
  lengths: 'lengths',
  attention_bias: 'attentionBias',
  position_ids: 'positionIds',
  token_type_ids: 'tokenTypeIds',
  memory: 'memory',
  memory_lengths: 'memoryLengths',
  memory_mask: 'memoryKeyPadding',
};

/**
 * The sequences of a model that may have different lengths, by the size of their axis in a padded batch: the size of their rows in a packed batch, and the input
 * of their lengths.
 */
export const sequenceAxes: Readonly<Record<string, { readonly packed: string; readonly lengths: string }>> = {
  seq: { packed: 'tokens', lengths: 'lengths' },
  memory_seq: { packed: 'memory_tokens', lengths: 'memory_lengths' },
  decoder_seq: { packed: 'decoder_tokens', lengths: 'decoder_lengths' },
};

/** The names that have a role by default. */
export const usualNames: readonly string[] = ['attention_mask', ...Object.keys(defaults)];

// Ambiguous names: an input that looks like a mask or an attention bias must have a declared role; otherwise the user's own data could change the attention.
const ambiguous: Readonly<Record<string, readonly DeclaredRole[]>> = {
  mask: ['denseMask', 'keyPadding', 'additiveMask'],
  bias: ['attentionBias', 'additiveMask'],
};

/** The types that a role accepts. */
interface Accepted {
  readonly dtypes: (dtype: DType) => boolean;
  readonly ranks: readonly number[];
  readonly packedRanks?: readonly number[];
  readonly expected: string;
}
const flags = (dtype: DType): boolean => dtype === 'bool' || dtype === 'int64' || dtype === 'int32';
const int64 = (dtype: DType): boolean => dtype === 'int64';
const accepted: { readonly [R in DeclaredRole]?: Accepted } = {
  sequence: { dtypes: () => true, ranks: [1, 2, 3, 4], expected: '[batch, seq, …]' },
  keyValue: { dtypes: isFloat, ranks: [4], expected: 'float [batch, kv_heads, kv_seq, head_dim]' },
  lengths: { dtypes: int64, ranks: [1], expected: 'int64[batch]' },
  keyPadding: { dtypes: flags, ranks: [2], expected: 'bool, int64 or int32 [batch, kv_seq]' },
  denseMask: { dtypes: (d) => d === 'bool', ranks: [4], expected: 'bool[batch or 1, heads or 1, seq or 1, kv_seq]' },
  additiveMask: {
    dtypes: isFloat,
    ranks: [2, 4],
    expected: 'float [batch, kv_seq] or [batch or 1, heads or 1, seq or 1, kv_seq]',
  },
  attentionBias: { dtypes: isFloat, ranks: [4], expected: 'float [batch or 1, heads or 1, seq, kv_seq]' },
  positionIds: { dtypes: int64, ranks: [2], packedRanks: [1], expected: 'int64[batch, seq], packed int64[tokens]' },
  tokenTypeIds: { dtypes: int64, ranks: [2], packedRanks: [1], expected: 'int64[batch, seq], packed int64[tokens]' },
  memory: {
    dtypes: isFloat,
    ranks: [3],
    packedRanks: [2],
    expected: 'float [batch, memory_seq, dim], packed [memory_tokens, dim]',
  },
  memoryLengths: { dtypes: int64, ranks: [1], expected: 'int64[batch]' },
  memoryKeyPadding: { dtypes: flags, ranks: [2], expected: 'bool, int64 or int32 [batch, memory_seq]' },
};

/** The inputs of a model, by role. */
export interface InputsByRole {
  /** The input of a role, with its name. */
  readonly of: { readonly [R in DeclaredRole]?: { readonly name: string; readonly value: Value } };
  /** Batch and new positions of a call (packed: batch 1 and all tokens). Throws ConfigError if no input determines them, or several disagree. */
  sizes(): { readonly batch: Dim; readonly seq: Dim };
  /** True if an input is the sequence by its role or name. */
  readonly certain: boolean;
  /**
   * Inputs of floats, one position after another: the sequences, keys and values of heads, the memory. Inputs without a role or name of the sequences are
   * among them where their dims leave no doubt: [batch, seq, 64].
   */
  positioned(): readonly Positioned[];
}

/**
 * Sorts inputs by role: the declared one, or that of the name by default.
 *
 * Throws   ConfigError for a dtype or rank that the role does not accept, two inputs of one role, and ambiguous names
 */
export function inputsByRole(g: GraphBuilder, inputs: Inputs, layout: 'padded' | 'packed'): InputsByRole {
  const of: Partial<Record<DeclaredRole, { name: string; value: Value }>> = {};
  const sequences: Candidate[] = [];
  const unnamed: Candidate[] = [];
  const keyValues: Candidate[] = [];
  for (const [name, value] of aboutOneModel(inputs)) {
    const role = roleOf(name, value);
    if (role === 'sequence') sequences.push({ name, value });
    if (role === undefined && isSequence(value, layout)) unnamed.push({ name, value });
    if (role === undefined || role === 'data') continue;
    checkType(name, value, role, layout);
    if (role === 'sequence') continue;
    if (role === 'keyValue') {
      keyValues.push({ name, value });
      note(g, value, role);
      continue;
    }
    const other = of[role];
    if (other)
      throw new ConfigError({
        path: `inputs.${name}`,
        problem: `two inputs have the role ${role}`,
        expected: 'one',
        got: `${other.name} and ${name}`,
        hint: "Declare another role for one of them: ['float32', dims, 'data']",
      });
    of[role] = { name, value };
    note(g, value, role);
  }
  const candidates = sequences.length ? sequences : unnamed;
  for (const { value } of sequences) note(g, value, 'sequence');
  return {
    of,
    certain: sequences.length > 0,
    sizes() {
      for (const { value } of candidates) note(g, value, 'sequence');
      return sizesOf(candidates, layout, inputs);
    },
    positioned() {
      const implied = sequences.length ? [] : unnamed.filter(({ value }) => isPlainly(value));
      for (const { value } of implied) note(g, value, 'sequence');
      // Beside keys and values that are inputs, lengths and masks are about those. A query affects no other position.
      const positions = (keyValues.length ? keyValues : [...sequences, ...implied]).map((one) => ({ ...one, ofMemory: false }));
      const all = of.memory ? [...positions, { ...of.memory, ofMemory: true }] : positions;
      return all
        .filter(({ value: { dtype, rank } }) => isFloat(dtype) && rank >= 2 && rank <= 4)
        .map((one) => ({ ...one, axis: one.value.rank === 4 ? 2 : 1 }));
    },
  };
}

/** An input with an axis of positions. */
export interface Positioned {
  readonly name: string;
  readonly value: Value;
  /** The axis of positions. */
  readonly axis: number;
  readonly ofMemory: boolean;
}

interface Candidate {
  readonly name: string;
  readonly value: Value;
}

// In a model with an encoder, inputs named decoder_… belong to the decoder's sequences.
function aboutOneModel(inputs: Inputs): readonly (readonly [string, Value])[] {
  const all = Object.entries(inputs);
  const own = all.filter(([name]) => !name.startsWith('decoder_'));
  return own.length ? own : all;
}

function roleOf(name: string, value: Value): DeclaredRole | undefined {
  const role = (inputOf(value)?.role as DeclaredRole | undefined) ?? defaultRole(name, value.rank);
  if (role === undefined && Object.hasOwn(ambiguous, name) && value.rank >= 2) {
    const roles = ambiguous[name]!;
    throw new ConfigError({
      path: `inputs.${name}`,
      problem: `the name "${name}" does not say what the input is for`,
      expected: `a role: ${roles.map((r) => `'${r}'`).join(', ')}, or 'data' for an input that only your own module reads`,
      got: printType(value),
      hint: `['${value.dtype}', [${value.dims.map((d) => (typeof d === 'string' ? `'${d}'` : d)).join(', ')}], '${roles[0]}']`,
    });
  }
  return role;
}

function note(g: GraphBuilder, value: Value, role: InputRole): void {
  const input = inputOf(value);
  if (input) g.root.roles.set(input.name, role);
}

function checkType(name: string, value: Value, role: DeclaredRole, layout: 'padded' | 'packed'): void {
  const type = accepted[role];
  if (!type) return;
  const ranks = (layout === 'packed' && type.packedRanks) || type.ranks;
  if (type.dtypes(value.dtype) && ranks.includes(value.rank)) return;
  const additive = isFloat(value.dtype) && (role === 'keyPadding' || role === 'denseMask');
  throw new ConfigError({
    path: `inputs.${name}`,
    problem: `wrong type for the role ${role}`,
    expected: type.expected,
    got: printType(value),
    hint: additive
      ? "A mask that is added to the scores has the role 'additiveMask'"
      : "Declare the role 'data' for an input that only your own module reads, or rename it",
  });
}

// ---- The sequences that attend --------------------------------------------------------------------------------------

const isSequence = ({ rank }: Value, layout: 'padded' | 'packed'): boolean =>
  layout === 'packed' ? rank >= 1 : rank === 2 || rank === 3;

// Channels are known, and numbers of positions need not be.
const isPlainly = ({ dims: [, seq, dim], rank }: Value): boolean =>
  rank === 3 && typeof seq === 'string' && typeof dim === 'number';

function sizesOf(candidates: readonly Candidate[], layout: 'padded' | 'packed', inputs: Inputs) {
  const found = candidates.map(({ value: { dims, rank } }) =>
    layout === 'packed' ? { batch: 1, seq: dims[0] ?? 1 } : { batch: dims[0] ?? 1, seq: (rank === 4 ? dims[2] : dims[1]) ?? 1 },
  );
  const [first] = found;
  if (first && found.every(({ batch, seq }) => batch === first.batch && seq === first.seq)) return first;
  const all = candidates.length ? candidates.map(({ value }) => value) : Object.values(inputs);
  throw new ConfigError({
    path: 'inputs',
    problem: first ? 'several inputs may be the sequence, and their sizes differ' : 'no input is a sequence',
    expected:
      "the role 'sequence' for the input that attends, such as ['int64', ['batch', 'seq'], 'sequence'], and 'data' for others",
    got: all.map(String).join(', ') || 'no inputs',
  });
}
