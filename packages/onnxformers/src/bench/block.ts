// Benchmark of one block, on data generated inside the graph.
import {
  type AnyModule,
  and,
  blockInputs,
  type CompileOptions,
  ConfigError,
  causal as causalMask,
  contextOf,
  type Dim,
  type DType,
  describe,
  initialize,
  isFloat,
  kindOf,
  module,
  type Ort,
  standalone,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { lengthsOf, wave } from './attention';
import { type Measured, type SlopeOptions, slope } from './slope';

/** Sizes of one call, and further parts of its context. */
export interface BlockSizes {
  readonly batch: number;
  readonly seq: number;
  /** Number of positions of the memory; default seq. */
  readonly kvSeq?: number;
  /** Number of heads, for blocks on queries and keys. */
  readonly heads?: number;
  readonly causal?: boolean;
  /** Number of real positions of each sequence; the rest is padding. */
  readonly lengths?: readonly number[];
  /** An attention bias for every score, the same for all heads. */
  readonly bias?: boolean;
}

interface InputType {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly below?: number;
}

/** A factor so small that adding the product changes nothing, which an optimiser cannot know. */
const hardlyAnything = 1e-30;

/**
 * A chain of calls of one block: the input of each is the previous result if that has the same type, otherwise the same data again plus a
 * negligible multiple of the previous result, so that each call depends on the previous one.
 */
export function blockChain(block: AnyModule, sizes: BlockSizes, copies: number): AnyModule {
  const types = Object.entries(inputTypes(block, sizes));
  const alone = standalone(block);
  return module({ block: alone }, ({ shift }: Readonly<Record<string, Value>>) => {
    const g = shift!.graph.root;
    const own = types.map(([, type], i) => dataOf(shift!, type, 0.731 + 0.3 * i));
    let inputs = own;
    let first: Value | undefined;
    for (let i = 0; i < copies; i++) {
      const named = Object.fromEntries(types.map(([name], k) => [name, inputs[k]!]));
      const all = {
        ...named,
        ...(kindOf(block)?.fromPositions && { position_ids: positionsAfter(first ?? shift!, sizes) }),
        ...(sizes.lengths && { lengths: lengthsOf(sizes.lengths, shift!) }),
        ...(sizes.bias && { attention_bias: ops.cast(wave(shift!, [1, 1, sizes.seq, sizes.seq], 0.517), g.dtype) }),
      };
      const ctx = contextOf(g, all, { layout: 'padded' });
      const results = alone(named, sizes.causal ? withContext(ctx, { mask: and(ctx.mask, causalMask) }) : ctx);
      const [result] = Object.values(results as Record<string, Value>);
      first = firstOf(result!);
      inputs = own.map((x, k) => (k === 0 && sameType(result!, x) ? result! : linked(x, first!)));
    }
    return { y: first! };
  });
}

const sameType = (a: Value, b: Value): boolean => a.dtype === b.dtype && `${a.dims}` === `${b.dims}`;

/** The first element, float32 [1]. */
function firstOf(x: Value): Value {
  const axes = x.dims.map((_, i) => i);
  return ops.cast(ops.reshape(ops.slice(x, { axes, starts: axes.map(() => 0), ends: axes.map(() => 1) }), [1]), 'float32');
}

const linked = (x: Value, to: Value): Value => ops.add(x, ops.cast(ops.mul(to, hardlyAnything), x.dtype));

/** 0, 1, 2, … for each sequence, computed from x so that they are not folded. */
const positionsAfter = (x: Value, { batch, seq }: BlockSizes): Value =>
  ops.add(ops.expand(ops.iota(x.graph.root, seq), [batch, seq]), ops.cast(ops.mul(x, hardlyAnything), 'int64'));

function dataOf(shift: Value, { dtype, dims, below = 2 }: InputType, rate: number): Value {
  const numbers = wave(shift, dims, rate);
  return isFloat(dtype)
    ? ops.cast(numbers, shift.graph.root.dtype)
    : ops.cast(ops.mul(ops.add(numbers, 1), (below - 1) / 2), dtype);
}

/** The inputs of a block, at these sizes. */
function inputTypes(block: AnyModule, { batch, seq, kvSeq = seq, heads = 8 }: BlockSizes): Readonly<Record<string, InputType>> {
  const named: Readonly<Record<string, number>> = {
    batch,
    texts: batch,
    images: batch,
    seq,
    decoder_seq: seq,
    memory_seq: kvSeq,
    heads,
    kv_heads: heads,
    dim: defaultDim,
    head_dim: defaultHeadDim,
    value_dim: defaultHeadDim,
    height: defaultImageSize,
    width: defaultImageSize,
  };
  const sizeOf = (d: Dim): number => (typeof d === 'number' ? d : (named[String(d)] ?? refuse(block, `a size "${d}"`)));
  return Object.fromEntries(
    Object.entries(blockInputs(block)).map(([name, { dtype, dims, below }]) => [
      name,
      { dtype, dims: dims.map(sizeOf), ...(below !== undefined && { below }) },
    ]),
  );
}

/** Width for blocks that accept any width. */
const defaultDim = 1024;
const defaultHeadDim = 64;
/** Height and width of images, in pixels. */
const defaultImageSize = 224;

function refuse(block: AnyModule, got: string): never {
  throw new ConfigError({ path: 'bench', problem: `cannot make data for ${describe(block)}`, got });
}

/**
 * Measures one call of a block on a target, with weights initialised from a seed.
 *
 * Throws   ConfigError for a block whose config does not determine its inputs · RunError when the runtime cannot load or run the graphs
 */
export async function benchBlock(
  block: AnyModule,
  sizes: BlockSizes,
  o: Omit<CompileOptions, 'inputs' | 'weights'>,
  ort: Ort,
  options: SlopeOptions = {},
): Promise<Measured> {
  const weights = initialize(blockChain(block, sizes, 1), { seed: 1 });
  return slope((copies) => blockChain(block, sizes, copies), { ...o, weights }, ort, options);
}
