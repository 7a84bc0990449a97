// Every form in which an attention can be masked, biased or modified: one call of each, for benchmarks and for the page of kernels.
import {
  type AnyModule,
  type AttendOptions,
  and,
  attend,
  blockLayout,
  causal,
  causalFromTopLeft,
  contextOf,
  type DeclaredRole,
  type DType,
  dense,
  dilated,
  documentIds,
  globalTokens,
  type InputType,
  keyLengths,
  keyPadding,
  keyStarts,
  lookup,
  type Mask,
  maskMod,
  module,
  none,
  not,
  or,
  prefix,
  randomPairs,
  type SequenceContext,
  scoreMod,
  slidingWindow,
  slidingWindowFromTopLeft,
  type Tensor,
  tensor,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { alibi, t5Relative } from '@onnxformers/positional';

/** Sizes of one call. */
export interface FormSizes {
  readonly batch: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly seq: number;
}

/** Data of a form: an input of its graph. */
interface FormInput {
  readonly dtype: DType;
  readonly role?: DeclaredRole;
  dims(s: FormSizes): readonly number[];
  /** Its elements, in the order of memory. */
  data(s: FormSizes): ArrayLike<number>;
}

type Data = Readonly<Record<string, Value>>;

/** One form. */
export interface AttentionForm {
  /** As the option `--mask` selects it and pages print it. */
  readonly name: string;
  readonly inputs?: Readonly<Record<string, FormInput>>;
  /** The sequences are packed: [1, heads, batch · seq, head_dim]. */
  readonly packed?: true;
  /** How many more keys than queries; default none. */
  readonly moreKeys?: number;
  mask?(data: Data, s: FormSizes): Mask<Value>;
  /** The block that makes the bias. */
  bias?(s: FormSizes): AnyModule;
  /** A bias, or options of the call. */
  call?(data: Data, s: FormSizes): AttendOptions & { readonly bias?: Value };
}

// ---- Data -----------------------------------------------------------------------------------------------------------

const list = (length: number, f: (i: number) => number): readonly number[] => Array.from({ length }, (_, i) => f(i));
/** Lengths from a full sequence down to a fraction of it. */
const lengthsFor = ({ batch, seq }: FormSizes): readonly number[] => list(batch, (b) => Math.ceil((seq * (batch - b)) / batch));

const lengths: FormInput = { dtype: 'int64', dims: ({ batch }) => [batch], data: lengthsFor };
const starts: FormInput = { ...lengths, data: (s) => lengthsFor(s).map((n) => s.seq - n) };
const keep: FormInput = {
  dtype: 'bool',
  dims: ({ batch, seq }) => [batch, seq],
  data: (s) => lengthsFor(s).flatMap((n) => list(s.seq, (i) => (i < n ? 1 : 0))),
};
const pairs: FormInput = {
  dtype: 'bool',
  dims: ({ seq }) => [1, 1, seq, seq],
  data: ({ seq }) => list(seq * seq, (i) => (i % 3 === 0 || i % (seq + 1) === 0 ? 1 : 0)),
};
/** Tokens of four documents in a row. */
const ids: FormInput = {
  dtype: 'int64',
  dims: ({ batch, seq }) => [batch, seq],
  data: ({ batch, seq }) => list(batch * seq, (i) => Math.floor((4 * (i % seq)) / seq)),
};
/** The sequences of a packed batch. Their sum is the number of tokens, so they differ in pairs. */
const packedLengths: FormInput = {
  dtype: 'int64',
  role: 'lengths',
  dims: ({ batch }) => [batch],
  data: ({ batch, seq }) =>
    list(batch, (b) => (b === batch - 1 && batch % 2 ? seq : seq + (b % 2 ? 1 : -1) * Math.floor(seq / 2))),
};
const scores: FormInput = {
  dtype: 'float32',
  dims: ({ heads, seq }) => [1, heads, seq, seq],
  data: ({ heads, seq }) => list(heads * seq * seq, (i) => Math.sin(i)),
};
const blockSize = 64;
const layout: FormInput = {
  dtype: 'bool',
  dims: ({ seq }) => [1, Math.ceil(seq / blockSize), Math.ceil(seq / blockSize)],
  data: ({ seq }) => {
    const n = Math.ceil(seq / blockSize);
    return list(n * n, (i) => (Math.abs(Math.floor(i / n) - (i % n)) < 2 ? 1 : 0));
  },
};

const inDtype = (x: Value): Value => ops.cast(x, x.graph.root.dtype);

// ---- Forms ----------------------------------------------------------------------------------------------------------

const window = { left: 127, right: 0 };

/** Every form: each class of masks, biases, functions, and the masks that are used together. */
export const attentionForms: readonly AttentionForm[] = [
  { name: 'none' },
  { name: 'causal', mask: () => causal },
  // Of as many queries as keys it is the causal mask.
  { name: 'causal from top left', moreKeys: 64, mask: () => causalFromTopLeft },
  { name: 'causal, more keys', moreKeys: 64, mask: () => causal },
  { name: 'window', mask: () => slidingWindow({ left: 64, right: 63 }) },
  { name: 'causal window', mask: () => slidingWindow(window) },
  { name: 'window from top left', mask: () => slidingWindowFromTopLeft(window) },
  { name: 'dilated', mask: () => dilated(4) },
  { name: 'prefix', mask: () => prefix(64) },
  { name: 'prefix lengths', inputs: { lengths }, mask: (d) => prefix(d.lengths!) },
  { name: 'window or global tokens', mask: () => or(slidingWindow({ left: 64, right: 63 }), globalTokens(4)) },
  { name: 'random pairs', mask: () => randomPairs(0.1, 1) },
  { name: 'blocks', inputs: { layout }, mask: (d) => blockLayout(d.layout!, blockSize) },
  { name: 'key lengths', inputs: { lengths }, mask: (d) => keyLengths(d.lengths!) },
  { name: 'key lengths, causal', inputs: { lengths }, mask: (d) => and(keyLengths(d.lengths!), causal) },
  { name: 'key starts, causal', inputs: { starts }, mask: (d) => and(keyStarts(d.starts!), causal) },
  { name: 'key padding', inputs: { keep }, mask: (d) => keyPadding(d.keep!) },
  { name: 'key padding, causal', inputs: { keep }, mask: (d) => and(keyPadding(d.keep!), causal) },
  { name: 'documents', packed: true },
  { name: 'documents, causal', packed: true, mask: () => causal },
  { name: 'documents, causal window', packed: true, mask: () => slidingWindow(window) },
  { name: 'document ids', inputs: { ids }, mask: (d) => documentIds(d.ids!) },
  { name: 'dense', inputs: { pairs }, mask: (d) => dense(d.pairs!) },
  { name: 'not a window', mask: () => not(slidingWindow({ left: 64, right: 63 })) },
  { name: 'maskMod, known', mask: () => maskMod<Value>((_b, _h, q, k) => q.ge(k)) },
  {
    name: 'maskMod, unknown',
    mask: () => maskMod<Value>((_b, _h, q, k) => q.ge(k).and(q.sub(k).mod(5).lt(3))),
  },
  {
    name: 'maskMod, table',
    inputs: { ids },
    mask: ({ ids: of }) => maskMod<Value>((b, _h, q, k) => lookup(of!, b, q).eq(lookup(of!, b, k))),
  },
  { name: 'bias', inputs: { scores }, call: (d) => ({ bias: inDtype(d.scores!) }) },
  {
    name: 'bias, causal',
    inputs: { scores },
    mask: () => causal,
    call: (d) => ({ bias: inDtype(d.scores!) }),
  },
  {
    name: 'bias, key lengths',
    inputs: { scores, lengths },
    mask: (d) => keyLengths(d.lengths!),
    call: (d) => ({ bias: inDtype(d.scores!) }),
  },
  { name: 'alibi, causal', mask: () => causal, bias: () => alibi({}) as unknown as AnyModule },
  { name: 'alibi, documents', packed: true, mask: () => causal, bias: () => alibi({}) as unknown as AnyModule },
  { name: 't5 relative', bias: ({ heads }) => t5Relative({ heads }) as unknown as AnyModule },
  { name: 'softcap, causal', mask: () => causal, call: () => ({ softcap: 30 }) },
  {
    name: 'sinks, causal',
    inputs: { sinks: { dtype: 'float32', dims: ({ heads }) => [heads], data: ({ heads }) => list(heads, Math.cos) } },
    mask: () => causal,
    call: (d) => ({ sinks: inDtype(d.sinks!) }),
  },
  { name: 'scoreMod, known', call: () => ({ scoreMod: scoreMod((score) => score.div(30).tanh().mul(30)) }) },
  { name: 'scoreMod, unknown', call: () => ({ scoreMod: scoreMod((score) => score.mul(score.tanh())) }) },
];

// ---- Graphs ---------------------------------------------------------------------------------------------------------

/** The inputs of a form, as an option of `compile`. */
export const formInputs = ({ inputs, packed }: AttentionForm, s: FormSizes): Readonly<Record<string, InputType>> =>
  Object.fromEntries(
    Object.entries({ ...inputs, ...(packed && { lengths: packedLengths }) }).map(([name, { dtype, dims, role = 'data' }]) => [
      name,
      [dtype, dims(s), role],
    ]),
  );

/** Data for them. */
export const formFeeds = ({ inputs, packed }: AttentionForm, s: FormSizes): Readonly<Record<string, Tensor>> =>
  Object.fromEntries(
    Object.entries({ ...inputs, ...(packed && { lengths: packedLengths }) }).map(([name, { dtype, dims, data }]) => [
      name,
      tensor(dtype, dims(s), Array.from(data(s))),
    ]),
  );

/** Batch, and numbers of queries and of keys: a packed form has all of them in one row. */
export function rowsOf({ packed, moreKeys = 0 }: AttentionForm, { batch, seq }: FormSizes) {
  return packed ? { batch: 1, seq: batch * seq, kvSeq: batch * seq } : { batch, seq, kvSeq: seq + moreKeys };
}

/**
 * A chain of calls of a form, each with the previous result as its queries, as an attention of `copies` calls:
 * q, k, v [batch, heads, seq, head_dim] and the data of the form → [batch, heads, seq, head_dim].
 */
export function formChain(form: AttentionForm, s: FormSizes, copies: number): AnyModule {
  const bias = form.bias?.(s);
  return module({ ...(bias && { bias }) }, (q: Value, k: Value, v: Value, data: Data) => {
    const ctx = contextFor(form, q, data);
    const masked = withContext(ctx, { mask: and(ctx.mask, form.mask?.(data, s) ?? none) });
    const { bias: given, ...options } = form.call?.(data, s) ?? {};
    let y = q;
    for (let i = 0; i < copies; i++) {
      const added = (bias?.(y, k, masked) as Value | undefined) ?? given;
      y = attend(y, k, v, added ? withContext(masked, { bias: added }) : masked, options);
    }
    return y;
  });
}

function contextFor({ packed }: AttentionForm, q: Value, { lengths: given }: Data): SequenceContext {
  const g = q.graph.root;
  const [batch, heads, seq, headDim] = q.dims as readonly number[];
  const x = ops.reshape(ops.transpose(q, [0, 2, 1, 3]), [...(packed ? [] : [batch!]), seq!, heads! * headDim!]);
  return contextOf(g, { x, ...(packed && { lengths: given! }) }, { layout: packed ? 'packed' : 'padded' });
}
