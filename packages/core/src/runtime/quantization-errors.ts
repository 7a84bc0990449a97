// What weight-only quantization costs: the error of each matrix, and of its layer's output on a sample.
import { checkArguments } from '../arguments';
import { compile } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { parametrization, type Quantize, quantizedModule, quantizedWeights } from '../compile/quantize';
import { ConfigError, checkOptions } from '../error';
import { madeBy, usedBy, type Value } from '../ir/graph';
import { type AnyModule, module as makeModule, namesOf } from '../module/module';
import { standalone } from '../module/standalone';
import { Cast } from '../ops/cast';
import { Linear } from '../ops/matmul';
import { middleOf } from '../ops/quantized';
import { Gather } from '../ops/select';
import type { Parameter } from '../parameter/parameter';
import type { BlockFormat } from '../parametrizations/quantized-blocks';
import type { SequenceContext } from '../sequence/context';
import { toArray } from '../tensor/convert';
import type { DType, Tensor } from '../tensor/tensor';
import type { LazyTensor } from '../weights/lazy';
import { matchWeights, type WeightSource } from '../weights/load';
import type { Feeds } from './feeds';
import type { Ort } from './ort';
import { createRunner } from './runner';

/** Options of {@link quantizationErrors}. */
export interface QuantizationErrorsOptions extends Pick<CompileOptions, 'target' | 'inputs' | 'layout'> {
  readonly weights: WeightSource;
  readonly quantize: Quantize;
  /** Feeds on which outputs of layers are compared, and the runtime that computes them. Absent: only weights are compared. */
  readonly sample?: { readonly feeds: Feeds; readonly ort: Ort };
}

/** The error of one matrix that is quantised. */
export interface QuantizationError {
  /** Of the weight: `layers.0.mixer.q_proj.weight`. */
  readonly path: string;
  readonly format: BlockFormat | 'float16' | 'bfloat16';
  /** ‖Ŵ − W‖ / ‖W‖ in the Frobenius norm, Ŵ the weight as it is stored; 0 for a weight of zeros. */
  readonly weight: number;
  /** ‖ŷ − y‖ / ‖y‖ over the sample, y = x Wᵀ and ŷ = x Ŵᵀ on the same float32 activations x; of a table, the rows looked up. Absent without a sample. */
  readonly output?: number;
  /** Bytes of codes, scales and zero points. */
  readonly bytes: number;
  /** Bytes of the weight in the dtype of the checkpoint. */
  readonly originalBytes: number;
}

/**
 * The relative error that weight-only quantization makes in each matrix, and with a sample in the output of each layer. The output error is that of the layer alone:
 * its inputs are those of the float32 model, so errors of earlier layers do not add to it.
 *
 *     ‖Ŵ − W‖ / ‖W‖,  ‖x Ŵᵀ − x Wᵀ‖ / ‖x Wᵀ‖
 *
 * Throws   as `quantizeWeights` · with a sample as `compile` and `createRunner`, and ConfigError where a matrix is used in a loop or in another way than as a
 *          linear layer or a table
 *
 * Example  const errors = await quantizationErrors(block, { target: targets.cpu, inputs, weights, quantize: 'int4' });
 *            const worst = errors.reduce((a, b) => (a.weight > b.weight ? a : b));
 */
export async function quantizationErrors(module: AnyModule, o: QuantizationErrorsOptions): Promise<readonly QuantizationError[]> {
  checkArguments('quantizationErrors', { module, options: o, source: o?.weights });
  checkOptions('quantizationErrors', o, {
    target: true,
    inputs: true,
    layout: true,
    weights: true,
    quantize: true,
    sample: true,
  });
  const plain = standalone(module);
  const { formats } = quantizedModule(plain, o.quantize);
  const { parameters, aliases } = namesOf(plain);
  const matched = matchWeights(
    [...parameters].map(([path, { dims }]) => [path, { dims }] as const),
    o.weights,
    { aliases },
  );
  const { weights } = matched;
  const outputs = o.sample && (await outputErrors(plain, formats, weights, o, o.sample));
  const errors: QuantizationError[] = [];
  for (const [path, format] of formats) {
    const original = weights.get(path)!;
    const parts = [...quantizedWeights(new Map([[path, original]]), new Map([[path, format]])).values()];
    const loaded: Tensor[] = [];
    for (const part of parts) loaded.push(await part.load());
    errors.push({
      path,
      format,
      weight: weightError(await original.load(), loaded, format),
      ...(outputs && { output: outputs.get(path)! }),
      bytes: parts.reduce((n, p) => n + p.byteLength, 0),
      originalBytes: original.byteLength,
    });
  }
  return errors;
}

type Formats = ReturnType<typeof quantizedModule>['formats'];

function weightError(weight: Tensor, parts: readonly Tensor[], format: BlockFormat | DType): number {
  const [out, columns] = weight.dims as [number, number];
  const [codes, scales, zeros] = parts as [Tensor, Tensor, Tensor?];
  const rowOf = ({ dtype, data }: Tensor, row: number): Float64Array => {
    const width = data.length / out;
    const part = data.subarray(row * width, (row + 1) * width) as Tensor['data'];
    return toArray({ dtype, dims: [width], data: part }).data;
  };
  let [difference, whole] = [0, 0];
  for (let row = 0; row < out; row++) {
    const [exact, code] = [rowOf(weight, row), rowOf(codes, row)];
    const scale = typeof format === 'string' ? undefined : rowOf(scales, row);
    const zero = zeros && rowOf(zeros, row);
    for (let i = 0; i < columns; i++) {
      const stored = typeof format === 'string' ? code[i]! : blockValue(code, scale!, zero, i, format);
      difference += (stored - exact[i]!) ** 2;
      whole += exact[i]! ** 2;
    }
  }
  return relative(difference, whole);
}

const relative = (difference: number, whole: number): number => (difference === 0 ? 0 : Math.sqrt(difference / whole));

function blockValue(
  codes: Float64Array,
  scales: Float64Array,
  zeros: Float64Array | undefined,
  column: number,
  { bits, blockSize }: BlockFormat,
): number {
  const at = (bytes: Float64Array, i: number): number =>
    bits === 8 ? bytes[i]! : i % 2 ? Math.floor(bytes[i >> 1]! / 16) : bytes[i >> 1]! % 16;
  const block = Math.floor(column / blockSize);
  return (at(codes, column) - (zeros ? at(zeros, block) : middleOf(bits))) * scales[block]!;
}

/** One model in which each layer is computed twice, with both weights on the same activations. */
async function outputErrors(
  plain: AnyModule,
  formats: Formats,
  weights: ReadonlyMap<string, LazyTensor>,
  { target, inputs, layout }: QuantizationErrorsOptions,
  { feeds, ort }: NonNullable<QuantizationErrorsOptions['sample']>,
): Promise<ReadonlyMap<string, number>> {
  const { parameters } = namesOf(plain);
  const made = [...formats].map(([path, format]) => {
    const p = parameters.get(path)!;
    return { path, p, at: path.slice(0, path.lastIndexOf('.') + 1), ...parametrization(p, format) };
  });
  const added = made.flatMap(({ at, parameters }) => Object.entries(parameters).map(([name, p]) => [at + name, p] as const));
  const both = makeModule(
    { ...plain.children, ...Object.fromEntries(added) },
    (given: Record<string, Value>, ctx: SequenceContext) => {
      const results = Object.values(plain.forward(given, ctx) as Record<string, Value>);
      const g = results[0]!.graph.root;
      const uses = usesOf(results);
      return Object.fromEntries(
        made.flatMap(({ path, p, value }) => {
          const found = uses.get(p);
          if (!found) throw notALayer(path);
          const { reduceSumSquare, sub } = g.ops;
          const [exact, stored] = [g.storedParam(p), value(() => g.storedParam(p), g)];
          const summed = (of: (use: Use) => Value): Value => found.map((use) => squared(of(use))).reduce(g.ops.add);
          const squared = (y: Value): Value =>
            reduceSumSquare(
              y,
              y.dims.map((_, axis) => axis),
              { keepDims: false },
            );
          return [
            [`${differs} of ${path}`, summed((use) => sub(use(stored), use(exact)))],
            [`${norm} of ${path}`, summed((use) => use(exact))],
          ] as const;
        }),
      );
    },
  );
  const all = new Map([...weights, ...quantizedWeights(new Map([...weights].filter(([path]) => formats.has(path))), formats)]);
  const run = await createRunner(compile(both, { target, inputs, weights: all, ...(layout && { layout }) }), ort);
  try {
    const results = await run(feeds);
    const of = (name: string): number => toArray(results[name]!).data[0]!;
    return new Map(made.map(({ path }) => [path, relative(of(`${differs} of ${path}`), of(`${norm} of ${path}`))]));
  } finally {
    await run.dispose();
  }
}

const [differs, norm] = ['squared error', 'squared norm'];

/** A layer: the value that multiplies the weight, or the ids that are looked up in it. */
type Use = (weight: Value) => Value;

/** Layers by the matrix that they read, outside of loops and branches. */
function usesOf(results: readonly Value[]): ReadonlyMap<Parameter, readonly Use[]> {
  const uses = new Map<Parameter, Use[]>();
  const seen = new Set<Value>();
  const open = [...results];
  const note = (weight: Value | undefined, use: Use): void => {
    const from = madeBy(weight, Cast)?.operands[0] ?? weight;
    if (from?.leaf?.kind === 'parameter') uses.set(from.leaf.parameter, [...(uses.get(from.leaf.parameter) ?? []), use]);
  };
  for (let v = open.pop(); v; v = open.pop()) {
    if (seen.has(v) || !v.producer) continue;
    for (const output of v.producer.outputs) seen.add(output);
    const { ops } = v.graph;
    const [first, second] = v.producer.operands;
    if (madeBy(v, Linear)) note(second, (w) => ops.linear(first!, w));
    const lookup = madeBy(v, Gather);
    if (lookup && lookup.attrs.axis === 0) note(first, (w) => ops.gather(w, second!, 0));
    open.push(...usedBy(v.producer));
  }
  return uses;
}

const notALayer = (path: string): ConfigError =>
  new ConfigError({
    path,
    problem: 'the matrix is read in a loop, or not by a linear layer or a lookup',
    expected: 'layers whose output can be compared',
    hint: "Exclude it with select: () => 'none', or leave out the sample",
  });
