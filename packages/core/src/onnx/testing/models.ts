// Models for tests.
import fc from 'fast-check';
import { tensor, tensorFromBytes } from '../../tensor/convert';
import { bytesOf, countOf, type DType, dtypes, type Tensor } from '../../tensor/tensor';
import type { OnnxAttribute, OnnxGraph, OnnxInitializer, OnnxModel, OnnxNode } from '../model';

const row = (n: number, f: (i: number) => number): Float32Array => Float32Array.from({ length: n }, (_, i) => f(i));

export const inner = 17;
export const outer = 31;
/** [17, 31], 2108 bytes; [31], 124 bytes. */
export const weight = tensor(
  'float32',
  [inner, outer],
  row(inner * outer, (i) => Math.sin(i)),
);
export const bias = tensor(
  'float32',
  [outer],
  row(outer, (i) => i / 8),
);

export const stored = (name: string, data: Tensor, lazy?: OnnxInitializer['data']): OnnxInitializer => ({
  name,
  dtype: data.dtype,
  dims: data.dims,
  data: lazy ?? data,
});

export const node = (
  name: string,
  opType: string,
  inputs: string[],
  outputs: string[],
  rest: Partial<OnnxNode> = {},
): OnnxNode => ({
  name,
  opType,
  domain: '',
  inputs,
  outputs,
  attributes: {},
  ...rest,
});

/** y = x w + b with x [batch, 17]. */
export const linearModel = (
  initializers = [stored('w', weight), stored('b', bias)],
  rest: Partial<OnnxModel> = {},
): OnnxModel => ({
  opsets: { '': 21 },
  producer: { name: 'sample', version: '1.2.3' },
  metadata: { config: '{"dim":17}' },
  graph: {
    name: 'linear',
    inputs: [{ name: 'x', dtype: 'float32', dims: ['batch', inner] }],
    outputs: [{ name: 'y', dtype: 'float32', dims: ['batch', outer] }],
    nodes: [
      node('layers.0.proj/MatMul', 'MatMul', ['x', 'w'], ['xw'], {
        metadata: { 'onnxformers.path': 'layers.0.proj', rule: 'linear' },
      }),
      node('layers.0.proj/Add', 'Add', ['xw', 'b'], ['y'], { metadata: { 'onnxformers.path': 'layers.0.proj' } }),
    ],
    initializers,
  },
  ...rest,
});

const batch = 5;
export const x = { data: row(batch * inner, (i) => Math.cos(3 * i)), dims: [batch, inner] };
/** What {@link linearModel} gives for {@link x}, in float64. */
export const expectedY = Array.from({ length: batch * outer }, (_, k) => {
  const [i, j] = [Math.floor(k / outer), k % outer];
  const products = Array.from(
    { length: inner },
    (_, t) => x.data[i * inner + t]! * (weight.data as Float32Array)[t * outer + j]!,
  );
  return products.reduce((a, b) => a + b, (bias.data as Float32Array)[j]!);
});

// Arbitrary models.

const float32 = fc.float({ noNaN: true });
const int = fc.oneof(
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) => (Number.isSafeInteger(Number(n)) ? Number(n) : n)),
);
const text = fc.string({ unit: 'grapheme', maxLength: 9 });
const record = (maxKeys: number): fc.Arbitrary<Record<string, string>> =>
  fc.dictionary(text, text, { maxKeys, minKeys: 1, noNullPrototype: true });

export const anyTensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.constantFrom(...dtypes), fc.array(fc.nat(5), { maxLength: 4 }))
  .chain(([dtype, dims]) => {
    const size = bytesOf(dtype, countOf(dims));
    return fc
      .uint8Array({ minLength: size, maxLength: size })
      .map((bytes) => tensorFromBytes(dtype, dims, dtype === 'bool' ? bytes.map((b) => b & 1) : bytes));
  });

const leaf: fc.Arbitrary<OnnxAttribute> = fc.oneof(
  int.map((value) => ({ type: 'int', value }) as const),
  float32.map((value) => ({ type: 'float', value }) as const),
  text.map((value) => ({ type: 'string', value }) as const),
  fc.array(int, { maxLength: 5 }).map((value) => ({ type: 'ints', value }) as const),
  fc.array(float32, { maxLength: 5 }).map((value) => ({ type: 'floats', value }) as const),
  fc.array(text, { maxLength: 5 }).map((value) => ({ type: 'strings', value }) as const),
  anyTensor.map((value) => ({ type: 'tensor', value }) as const),
);

const valueInfo = fc.record(
  {
    name: text,
    dtype: fc.constantFrom<DType>(...dtypes),
    dims: fc.array(fc.oneof(fc.nat(), fc.constantFrom('', 'batch', 'past + seq')), { maxLength: 4 }),
  },
  { requiredKeys: ['name', 'dtype'], noNullPrototype: true },
);

const graphOf = (attribute: fc.Arbitrary<OnnxAttribute>): fc.Arbitrary<OnnxGraph> =>
  fc.record({
    name: text,
    inputs: fc.array(valueInfo, { maxLength: 3 }),
    outputs: fc.array(valueInfo, { maxLength: 3 }),
    nodes: fc.array(
      fc.record(
        {
          name: text,
          opType: text,
          domain: fc.constantFrom('', 'com.microsoft'),
          inputs: fc.array(text, { maxLength: 3 }),
          outputs: fc.array(text, { maxLength: 3 }),
          attributes: fc.dictionary(text, attribute, { maxKeys: 3, noNullPrototype: true }),
          metadata: record(3),
          doc: fc.string({ minLength: 1 }),
        },
        { requiredKeys: ['name', 'opType', 'domain', 'inputs', 'outputs', 'attributes'], noNullPrototype: true },
      ),
      { maxLength: 4 },
    ),
    initializers: fc.array(
      fc.tuple(text, anyTensor).map(([name, data]) => stored(name, data)),
      { maxLength: 4 },
    ),
  });

export const anyModel: fc.Arbitrary<OnnxModel> = fc.record(
  {
    irVersion: fc.constantFrom(10, 11, 13),
    opsets: fc.constantFrom<Record<string, number>>({ '': 23 }, { '': 21, 'com.microsoft': 1 }),
    producer: fc.record({ name: fc.constantFrom('sample', 'other'), version: text }),
    metadata: record(3),
    graph: graphOf(
      fc.oneof(
        { weight: 5, arbitrary: leaf },
        { weight: 1, arbitrary: graphOf(leaf).map((value) => ({ type: 'graph', value }) as const) },
      ),
    ),
  },
  { requiredKeys: ['irVersion', 'opsets', 'graph'], noNullPrototype: true },
);

/** A tensor of equal elements. */
export const filled = (dtype: DType, dims: readonly number[], value: number): Tensor =>
  tensor(dtype, dims, new Array(countOf(dims)).fill(value));
