// Memory-efficient attention on tensors: the inputs of its session, and what the graph depends on besides.
import {
  ConfigError,
  type Dim,
  describe,
  divDims,
  type Mask,
  mulDims,
  none,
  type OrtTensor,
  ops,
  ShapeError,
  type Tensor,
  type Value,
} from '@onnxformers/core';
import { maskKinds, masksIn } from '@onnxformers/core/lowering';
import { type AttentionOptions, attention, fromPages } from './attention';
import { AttentionBias, type Batched, type Pages } from './attention-bias';
import { PackedQueriesMask } from './block-diagonal-masks';
import { maskOfInputs, type NamedSizes, nameMask } from './mask-inputs';
import { expectTensor, type OpCall, type TensorOperand, typeOf } from './op-call';
import { PagedKeysMask } from './paged-keys-mask';

/** On tensors: a class of attention biases, a mask over tensors, or a tensor, which is added to the scores and hides a key where it is −∞, or where it is false. */
export type TensorBias = AttentionBias | Mask<Tensor> | Tensor;

const op = 'memoryEfficientAttention';

/** A call of memoryEfficientAttention. `seeded`: dropout has random numbers. */
export function attentionCall(
  q: TensorOperand,
  k: TensorOperand,
  v: TensorOperand,
  options: AttentionOptions<TensorBias>,
  seeded: boolean,
): OpCall {
  const { attnBias, scale, p = 0, ...unknown } = options;
  const [other] = Object.keys(unknown);
  if (other !== undefined)
    throw new ConfigError({ path: op, problem: `unknown option "${other}"`, hint: 'Options: attnBias, scale, p' });
  checkDropout(p, seeded);
  checkDims(q, k, v);
  const bias = biasOf(attnBias);
  checkFits(bias, attnBias, q, k);
  const { batched, pages } = bias;
  const sizes = batched ? sizesOfBatch(q, batched) : sizesOf(q, k, bias);
  const named = nameMask(batched?.mask ?? bias.mask, sizes, bias.lengthsOf);
  const dimsOf = (x: TensorOperand, seq: Dim): readonly Dim[] => [sizes.batch, seq, ...x.dims.slice(2)];
  const queries = { feed: batched ? apart(q, batched) : q, dims: dimsOf(q, sizes.seq) };
  const ofKeys = (x: TensorOperand) => {
    if (pages) return { feed: x, dims: [1, mulDims('pages', pages.size), ...x.dims.slice(2)] };
    return { feed: batched ? apart(x, batched) : x, dims: dimsOf(x, sizes.kvSeq) };
  };
  const inputs = {
    q: queries,
    k: ofKeys(k),
    v: ofKeys(v),
    ...Object.fromEntries(named.inputs),
    ...(bias.bias && { bias: { feed: bias.bias, dims: biasDims(bias.bias, q, k, sizes) } }),
    ...(pages && { block_table: { feed: pages.table, dims: ['sequences', 'pages_of_sequence'] } }),
  };
  const finite = bias.bias && !hides(bias.bias);
  const pageSize = pages?.size;
  return {
    op,
    inputs,
    options: { mask: textOf(named.mask), finite, pageSize, scale, ...(p > 0 && { p }) },
    forward(values) {
      const mask = maskOfInputs(named, values);
      const inPages = pageSize === undefined ? undefined : { table: values.block_table!, size: pageSize };
      const [x, keys, vs] = [values.q!, values.k!, values.v!];
      if (!batched) {
        const given = { mask, added: values.bias, finite: finite ?? false, pages: inPages };
        return { y: attention(x, keys, vs, given, { scale, p }) };
      }
      const read = (t: Value): Value => {
        if (!inPages) return withoutPadding(t, mask);
        const all = fromPages(t, inPages);
        const dims = [sizes.batch, divDims(all.dims[1]!, sizes.batch), ...t.dims.slice(2)];
        return withoutPadding(ops.reshape(all, dims), mask);
      };
      const y = attention(x, read(keys), read(vs), { mask }, { scale, p });
      return { y: ops.reshape(y, [1, mulDims(sizes.batch, sizes.seq), ...y.dims.slice(2)]) };
    },
  };
}

// [1, sequences · seq, …] as [sequences, seq, …]: the same elements.
function apart(x: TensorOperand, { sequences }: Batched): TensorOperand {
  const dims = [sequences, x.dims[1]! / sequences, ...x.dims.slice(2)];
  if ('dtype' in x) return { ...x, dims };
  return (x as OrtTensor & { reshape(dims: readonly number[]): OrtTensor }).reshape(dims);
}

// 0 in the padding of keys or values [batch, kv_seq, …]: its weight is 0, and 0 · NaN is NaN.
function withoutPadding(x: Value, mask: Mask<Value>): Value {
  const lengths = masksIn(mask).find((m) => m.class.name === 'lengths')?.operands.keys;
  if (!lengths || x.graph.root.assumptions.has('finite padding')) return x;
  const [batch, seq] = x.dims as [Dim, Dim];
  const isKey = ops.less(ops.reshape(ops.iota(x.graph, seq), [1, seq]), ops.reshape(lengths, [batch, 1]));
  return ops.where(ops.reshape(isKey, [batch, seq, ...x.dims.slice(2).map(() => 1)]), x, 0);
}

function checkDropout(p: number, seeded: boolean): void {
  if (typeof p !== 'number' || !(p >= 0 && p <= 1))
    throw new ConfigError({ path: `${op}.p`, problem: 'not a probability', expected: 'a number from 0 to 1', got: describe(p) });
  if (p > 0 && !seeded)
    throw new ConfigError({
      path: `${op}.p`,
      problem: 'dropout without a seed',
      hint: 'Make the ops with createOps({ …, seed: 1 })',
    });
}

function checkDims(q: TensorOperand, k: TensorOperand, v: TensorOperand): void {
  for (const [name, x] of Object.entries({ q, k, v })) expectTensor(op, name, x);
  const [ofQ, ofK, ofV] = [q.dims, k.dims, v.dims];
  const alike = [ofK, ofV].every((dims) => dims.length === ofQ.length && dims[0] === ofQ[0]);
  if (alike && ofQ.length >= 3 && ofQ.length <= 5 && ofK[1] === ofV[1]) return;
  throw new ShapeError({
    path: op,
    problem: 'q, k and v do not fit each other',
    expected:
      'q [batch, seq, heads, head_dim], k and v [batch, kv_seq, kv_heads, head_dim], with 3 or 5 axes for one head or groups of heads',
    got: [ofQ, ofK, ofV].map((dims) => `[${dims.join(', ')}]`).join(', '),
  });
}

// ---- Bias --------------------------------------------------------------------------------------------------------------------

interface Bias {
  readonly mask: Mask<Tensor>;
  readonly bias?: Tensor | undefined;
  readonly pages?: Pages<Tensor> | undefined;
  readonly batched?: Batched | undefined;
  readonly lengthsOf: AttentionBias['lengthsOf'];
}

function biasOf(given: TensorBias | undefined): Bias {
  if (given === undefined) return { mask: none, lengthsOf: new Map() };
  if (given instanceof AttentionBias) return given;
  if (typeof given === 'object' && given !== null) {
    if ('class' in given) return { mask: given, lengthsOf: new Map() };
    if ('dtype' in given) return { mask: none, bias: given, lengthsOf: new Map() };
  }
  throw new ConfigError({
    path: `${op}.attnBias`,
    problem: 'not an attention bias',
    expected: 'a mask such as new LowerTriangularMask(), or a tensor',
    got: describe(given),
  });
}

// Sizes that differ from call to call get names. One query and equal numbers of queries and keys have kernels of their own.
function sizesOf(q: TensorOperand, k: TensorOperand, { mask, pages }: Bias): NamedSizes {
  const batch = maskKinds(mask).includes('documents') ? 1 : 'batch';
  const heads = headsOf(q);
  const seq = q.dims[1] === 1 ? 1 : 'seq';
  return { batch, heads, seq, kvSeq: q.dims[1] === k.dims[1] && !pages ? seq : 'kv_seq' };
}

const sizesOfBatch = (q: TensorOperand, { queries }: Batched): NamedSizes => ({
  batch: 'sequences',
  heads: headsOf(q),
  seq: queries === 1 ? 1 : 'seq',
  kvSeq: 'kv_seq',
});
const headsOf = (q: TensorOperand): number => q.dims.slice(2, -1).reduce((a, b) => a * b, 1);

function checkFits({ mask, bias, pages }: Bias, given: TensorBias | undefined, q: TensorOperand, k: TensorOperand): void {
  const [batch, seq] = q.dims as readonly [number, number];
  const kvSeq = k.dims[1]!;
  const path = `${op}.attnBias`;
  if (maskKinds(mask).includes('documents') && batch !== 1)
    throw new ShapeError({
      path,
      problem: 'packed sequences have a batch of 1',
      expected: '[1, tokens, heads, head_dim]',
      got: `[${q.dims.join(', ')}]`,
      hint: 'Pack a list of tensors with BlockDiagonalMask.fromTensorList',
    });
  const own = given instanceof PagedKeysMask ? given.unpaged : given;
  if (own instanceof PackedQueriesMask) {
    expectRows(path, 'queries', own.queries.starts.at(-1)!, seq);
    if (!pages) expectRows(path, 'keys', own.keys.starts.at(-1)!, kvSeq);
  }
  if (pages) {
    const most = Array.from(pages.table.data, Number).reduce((a, b) => Math.max(a, b), -1);
    if (kvSeq % pages.size || most >= kvSeq / pages.size)
      throw new ShapeError({
        path,
        problem: 'the keys do not have the pages of the block tables',
        expected: `at least ${most + 1} pages of ${pages.size} keys`,
        got: `${kvSeq} keys`,
      });
  }
  for (const m of masksIn(mask)) if (m.class.name === 'lengths') expectLengths(path, m.operands.keys!, kvSeq);
  if (bias && bias.dtype !== 'bool' && bias.dtype !== typeOf(q))
    throw new ShapeError({
      path,
      problem: 'the bias has another dtype than q',
      expected: `${typeOf(q)} or bool`,
      got: bias.dtype,
    });
}

function expectRows(path: string, what: string, expected: number, got: number): void {
  if (expected === got) return;
  throw new ShapeError({ path, problem: `the mask is for another number of ${what}`, expected: `${expected}`, got: `${got}` });
}

function expectLengths(path: string, lengths: Tensor, most: number): void {
  const wrong = Array.from(lengths.data, Number).find((n) => n < 0 || n > most);
  if (wrong === undefined) return;
  throw new ShapeError({ path, problem: 'a length out of range', expected: `0 to ${most}`, got: String(wrong) });
}

// The axes of a bias: 1, or the size of the attention there.
function biasDims({ dims }: Tensor, q: TensorOperand, k: TensorOperand, { batch, seq, kvSeq }: NamedSizes): readonly Dim[] {
  const headAxes = dims.length === 4 && q.dims.length !== 4 ? [headsOf(q)] : q.dims.slice(2, -1);
  const inner = dims.length === q.dims.length && q.dims.length === 3 ? [] : headAxes;
  const [numbers, names] = [
    [q.dims[0]!, ...inner, q.dims[1]!, k.dims[1]!],
    [batch, ...inner, seq, kvSeq],
  ] as const;
  const skipped = dims.length === 2 ? numbers.length - 2 : 0;
  const fits = dims.length + skipped === numbers.length && dims.every((d, i) => d === 1 || d === numbers[i + skipped]);
  if (!fits)
    throw new ShapeError({
      path: `${op}.attnBias`,
      problem: 'the bias does not fit the scores',
      expected: `[${numbers.join(', ')}], where batch and heads may be 1`,
      got: `[${dims.join(', ')}]`,
    });
  return dims.map((d, i) => (d === 1 ? 1 : names[i + skipped]!));
}

const hides = ({ dtype, data }: Tensor): boolean => {
  if (dtype === 'bool') return true;
  return (data as Float32Array).includes(dtype === 'float16' ? 0xfc00 : Number.NEGATIVE_INFINITY);
};

// ---- Kinds of masks ---------------------------------------------------------------------------------------------------------

// Classes of masks, and functions and objects in their options, are told apart by identity.
const numbers = new WeakMap<object, number>();
let last = 0;
function numberOf(x: object): number {
  if (!numbers.has(x)) numbers.set(x, ++last);
  return numbers.get(x)!;
}
const identified = (x: unknown): string =>
  (typeof x === 'object' && x !== null) || typeof x === 'function' ? `#${numberOf(x)}` : JSON.stringify(x);

/** A text that is the same for masks of the same class, options and inputs. */
function textOf({ class: maskClass, operands, options, parts }: Mask<string>): string {
  const data = [
    ...Object.entries(options).map(([name, value]) => `${name}: ${identified(value)}`),
    ...Object.entries(operands).map(([name, value]) => `${name}: ${value}`),
    ...parts.map(textOf),
  ];
  return `${maskClass.name}#${numberOf(maskClass)}(${data.join(', ')})`;
}
