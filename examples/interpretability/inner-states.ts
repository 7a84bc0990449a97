// What a pretrained model computes inside: attention weights and hidden states of every layer, read by taps.
import {
  type AnyModule,
  type CompileOptions,
  ConfigError,
  compile,
  createRunner,
  type Ort,
  type Target,
  type Tensor,
  tensor,
} from '@onnxformers/core';
import { type FilesByName, fromPretrained, loadTokenizer, type PretrainedFiles } from '@onnxformers/models';

/** What one layer computes. */
export interface LayerStates {
  /** [heads, tokens, tokens]: how much each token (second axis) attends to each (third axis). Each row adds up to 1. */
  readonly attention: Tensor;
  /** [tokens, dim]: what the layer returns. */
  readonly hidden: Tensor;
}

/** What a model computes of a text. */
export interface InnerStates {
  readonly tokens: readonly string[];
  readonly layers: readonly LayerStates[];
}

/** A model that shows what it computes. */
export interface Observer {
  /** Of a text; what exceeds the longest sequence of the checkpoint is an error. */
  look(text: string): Promise<InnerStates>;
  /** Of ids, with the text that each belongs to (default 0). */
  lookAt(ids: readonly number[], types?: readonly number[]): Promise<InnerStates>;
  readonly depth: number;
  dispose(): Promise<void>;
}

/** The number of layers, if each layer is in the stack once. */
function depthOf(module: AnyModule): number {
  const stack = module.children.stack as AnyModule | undefined;
  const layers = stack?.children.layers as readonly AnyModule[] | undefined;
  const { repeats = 1 } = (stack?.about.config ?? {}) as { readonly repeats?: number };
  if (layers && repeats === 1) return layers.length;
  throw new ConfigError({
    path: 'model',
    problem: layers ? 'its layers run several times' : 'it is not one stack of layers',
    expected: 'an encoder or a decoder of texts whose layers run once',
    got: String(module.blockName),
  });
}

/** The ids of a text, and the types that the model may have; no mask, because there is no padding. */
function inputsFor({ ids, token_type_ids }: CompileOptions['inputs']): CompileOptions['inputs'] {
  if (!ids) throw new ConfigError({ path: 'model', problem: 'it does not read texts', expected: 'the input ids' });
  return { ids, ...(token_type_ids && { token_type_ids }) };
}

const withoutBatch = ({ dtype, dims, data }: Tensor): Tensor => ({ dtype, dims: dims.slice(1), data });

/**
 * Compiles the model of a checkpoint, without its head, with two taps in each layer.
 *
 * Throws   what `fromPretrained`, `loadTokenizer` and `compile` throw · ConfigError for a model that is not one stack of layers over texts
 */
export async function openObserver(files: PretrainedFiles | FilesByName, ort: Ort, target: Target): Promise<Observer> {
  const model = await fromPretrained(files, { task: 'base' });
  const tokenizer = await loadTokenizer(model.files);
  const depth = depthOf(model.module);
  const paths = Array.from({ length: depth }, (_, i) => {
    const hidden = `stack.layers.${i}`;
    return { hidden, attention: `${hidden}.mixer.attention.weights` };
  });
  const inputs = inputsFor(model.inputs);
  const taps = paths.flatMap(({ attention, hidden }) => [attention, hidden]);
  const run = await createRunner(compile(model.module, { target, inputs, weights: model.weights, taps }), ort);

  async function lookAt(ids: readonly number[], types: readonly number[] = ids.map(() => 0)): Promise<InnerStates> {
    const row = (numbers: readonly number[]): Tensor => tensor('int64', [1, ids.length], numbers);
    const results = await run({
      ids: row(ids),
      ...(inputs.token_type_ids && { token_type_ids: row(types) }),
    });
    return {
      tokens: ids.map((id) => tokenizer.tokenOf(id) ?? String(id)),
      layers: paths.map(({ attention, hidden }) => ({
        attention: withoutBatch(results[attention]!),
        hidden: withoutBatch(results[hidden]!),
      })),
    };
  }

  const look = (text: string): Promise<InnerStates> => {
    const { ids, types } = tokenizer.sequence(text);
    return lookAt(ids, types);
  };
  return { look, lookAt, depth, dispose: () => run.dispose() };
}

/** Rows of the last two axes of a tensor: of head `which` of attention weights, or of hidden states. */
export function rowsOf({ data, dims }: Tensor, which = 0): readonly (readonly number[])[] {
  const [rows = 0, columns = 0] = dims.slice(-2);
  const start = which * rows * columns;
  return Array.from({ length: rows }, (_, i) =>
    Array.from(data.subarray(start + i * columns, start + (i + 1) * columns) as Float32Array),
  );
}

/** The cosines of all pairs of rows. */
export function cosines(rows: readonly (readonly number[])[]): readonly (readonly number[])[] {
  const units = rows.map((row) => {
    const length = Math.hypot(...row);
    return row.map((x) => (length > 0 ? x / length : 0));
  });
  return units.map((a) => units.map((b) => a.reduce((sum, x, i) => sum + x * b[i]!, 0)));
}

/** The numbers of all layers as plain JSON. */
export const numbersOf = ({ tokens, layers }: InnerStates): object => ({
  tokens,
  layers: layers.map(({ attention, hidden }) => ({
    attention: Array.from({ length: attention.dims[0]! }, (_, head) => rowsOf(attention, head)),
    hidden: rowsOf(hidden),
  })),
});
