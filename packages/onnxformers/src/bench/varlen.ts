// The benchmark of variable-length batches: one language model on sequences of different lengths, padded and packed.
import {
  type AnyModule,
  type CompileOptions,
  compile,
  initialize,
  type LazyTensor,
  lazily,
  linear,
  type Model,
  type ModelDType,
  module,
  type SequenceContext,
  type Tensor,
  tensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { zoo } from '../index';

/** The model, and the lengths of the sequences of its batch. */
export interface VarlenSizes {
  readonly depth: number;
  readonly heads: number;
  readonly headDim: number;
  /** Hidden channels of the MLP. */
  readonly hidden: number;
  readonly vocabSize: number;
  /** Longest sequence that has positions. */
  readonly seqLen: number;
  readonly lengths: readonly number[];
}

/** How the sequences are arranged: without padding, padded to the longest, or padded to `seqLen`. */
export type VarlenLayout = 'packed' | 'padded' | 'padded to seqLen';

/** `count` lengths spread evenly from 1 to `most`: the same everywhere, without a random number generator. */
export function spreadLengths(count: number, most: number, phase: number): readonly number[] {
  const golden = (Math.sqrt(5) - 1) / 2;
  return Array.from({ length: count }, (_, i) => 1 + Math.floor(most * (((i + 1) * golden + phase) % 1)));
}

/** As many sequences of equal length, with as many tokens as these, up to rounding: packing them saves nothing. */
export const equalLengths = (lengths: readonly number[]): readonly number[] => {
  const mean = Math.round(lengths.reduce((a, b) => a + b, 0) / lengths.length);
  return lengths.map(() => mean);
};

/** 24 layers of 1,024 channels; 32 sequences of 35 to 1,023 tokens, 17,267 together. */
export const varlenSizes: VarlenSizes = {
  depth: 24,
  heads: 16,
  headDim: 64,
  hidden: 4096,
  vocabSize: 1024,
  seqLen: 1024,
  lengths: spreadLengths(32, 1023, 0.6731),
};

/** Pre-norm layers with learned positions and a GELU MLP. Its output is the sum of the cross-entropy of `labels` over the real tokens. */
export function varlenModel(sizes: VarlenSizes, causal: boolean): AnyModule {
  const { depth, heads, headDim, hidden, vocabSize, seqLen } = sizes;
  const dim = heads * headDim;
  const layers = { name: 'pre_norm', mixer: { name: 'multi_head', heads }, feedforward: { name: 'mlp', hidden } };
  const backbone = zoo.build('model', {
    name: causal ? 'decoder' : 'encoder',
    dim,
    seqLen,
    embedding: { name: 'token', vocabSize },
    position: 'learnable',
    stack: { name: 'stack', depth, layers, norm: 'layer_norm' },
  } as never);
  const head = linear(dim, vocabSize, { bias: false });
  return module({ backbone, head }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    const { hidden_states: states } = (backbone as unknown as Backbone)(inputs, ctx);
    const last = states.rank - 1;
    const scores = ops.logSoftmax(ops.cast(head(states), 'float32'));
    const picked = ops.gatherElements(scores, ops.unsqueeze(inputs.labels!, [last]), last);
    const real = inputs.weights ? ops.mul(picked, ops.cast(ops.unsqueeze(inputs.weights, [last]), 'float32')) : picked;
    return {
      loss: ops.neg(
        ops.reduceSum(
          real,
          real.dims.map((_, axis) => axis),
          { keepDims: false },
        ),
      ),
    };
  });
}
type Backbone = (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => { readonly hidden_states: Value };

/** The model for a layout, and a batch for it: the same tokens in each layout. */
export interface VarlenCase {
  readonly model: Model;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Rows that it computes, padding included. */
  readonly rows: number;
}

/**
 * Weights initialised from a seed, the same in every layer: the values of one layer are computed once, in the dtype of the model, and take a fraction of the
 * time. Times do not depend on them.
 */
export function varlenWeights(sizes: VarlenSizes, dtype: ModelDType): Map<string, LazyTensor> {
  const own = initialize(varlenModel(sizes, false), { seed: 1, dtype });
  const loaded = new Map<string, Tensor>();
  const first = (path: string): string => path.replace(/\.layers\.\d+\./, '.layers.0.');
  const load = (path: string): Tensor => {
    const ready = loaded.get(path) ?? own.get(path)!.loadSync!();
    loaded.set(path, ready);
    return ready;
  };
  return new Map([...own].map(([path, { dtype: type, dims }]) => [path, lazily(type, dims, () => load(first(path)))]));
}

/** Compiles the model for a layout; absent `weights` are {@link varlenWeights}. */
export function varlenCase(
  sizes: VarlenSizes,
  { causal, layout }: { readonly causal: boolean; readonly layout: VarlenLayout },
  o: Omit<CompileOptions, 'inputs' | 'layout'> & { readonly dtype: ModelDType },
): VarlenCase {
  const { lengths, vocabSize, seqLen } = sizes;
  const m = varlenModel(sizes, causal);
  const about = { weights: varlenWeights(sizes, o.dtype), ...o };
  const counts = tensor('int64', [lengths.length], lengths);
  const idOf = (sequence: number, i: number): number => (7 * i * i + 13 * sequence + 3 * i) % vocabSize;
  if (layout === 'packed') {
    const ids = lengths.flatMap((n, b) => Array.from({ length: n }, (_, i) => idOf(b, i)));
    const labels = lengths.flatMap((n, b) => Array.from({ length: n }, (_, i) => idOf(b, i + 1)));
    const rows = ids.length;
    return {
      model: compile(m, {
        ...about,
        layout: 'packed',
        inputs: { ids: ['int64', ['tokens']], labels: ['int64', ['tokens'], 'data'], lengths: ['int64', ['sequences']] },
      }),
      feeds: { ids: tensor('int64', [rows], ids), labels: tensor('int64', [rows], labels), lengths: counts },
      rows,
    };
  }
  const width = layout === 'padded' ? Math.max(...lengths) : seqLen;
  const dims = [lengths.length, width];
  const grid = (f: (sequence: number, i: number) => number): readonly number[] =>
    lengths.flatMap((n, b) => Array.from({ length: width }, (_, i) => (i < n ? f(b, i) : 0)));
  const size = ['batch', 'seq'];
  return {
    model: compile(m, {
      ...about,
      assumptions: ['no empty sequences'],
      inputs: {
        ids: ['int64', size],
        labels: ['int64', size, 'data'],
        weights: ['float32', size, 'data'],
        lengths: ['int64', ['batch']],
      },
    }),
    feeds: {
      ids: tensor('int64', dims, grid(idOf)),
      labels: tensor(
        'int64',
        dims,
        grid((b, i) => idOf(b, i + 1)),
      ),
      weights: tensor(
        'float32',
        dims,
        grid(() => 1),
      ),
      lengths: counts,
    },
    rows: lengths.length * width,
  };
}
