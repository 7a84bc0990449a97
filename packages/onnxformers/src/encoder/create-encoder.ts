// A model over a list of sequences of any lengths: sorted, batched, packed or padded, run, and returned in the order of the list.
import {
  type AnyModule,
  type CompileOptions,
  ConfigError,
  checkArguments,
  checkWord,
  compile,
  createRunner,
  describe,
  evaluateDim,
  explain,
  LoweringError,
  type Model,
  namesOfDim,
  type Ort,
  type Runner,
  type RunnerOptions,
  ShapeError,
  type Tensor,
} from '@onnxformers/core';
import { inputsOf } from '../inputs';
import {
  type Axis,
  type AxisBatch,
  axesOf,
  byName,
  type EncoderSequence,
  feedsOf,
  lengthAlong,
  lengthInputs,
  packedInputs,
} from './axes';
import { batchesOf, widthOf } from './batches';
import { perSequence } from './results';

/** Options of {@link createEncoder}: those of `compile`, and how sequences are batched. */
export interface EncoderOptions extends Omit<CompileOptions, 'layout' | 'inputs'> {
  /**
   * The inputs of the padded model, without lengths; default: those of the block. Each has the axes [batch, seq, …]; those of a decoder [batch, decoder_seq, …], a memory
   * [batch, memory_seq, dim].
   */
  readonly inputs?: CompileOptions['inputs'];
  /** How the sequences of a batch are arranged; `auto`, the default, chooses (see {@link createEncoder}). */
  readonly layout?: EncoderLayout | 'auto';
  /**
   * Rows of a batch at most, padding and the rows of a decoder or a memory included; default 16,384. A longer sequence is a batch of its own. Where attention computes padding, a batch of 2,048 rows
   * takes no sequences that are much shorter than its longest.
   */
  readonly maxTokens?: number;
  /** Padded: sequences are padded to a multiple of this; default 8. */
  readonly multipleOf?: number;
  /** Options of the runner. */
  readonly runner?: RunnerOptions;
}

/**
 * How the sequences of a batch are arranged. `packed`: one after another, nothing is computed for padding. `padded`: to the longest sequence of the batch.
 * `buckets`: only sequences of equal length run together, for models that mix positions and have no masks.
 */
export type EncoderLayout = 'packed' | 'padded' | 'buckets';

/** Options of {@link Encoder.encode}. */
export interface EncodeOptions {
  /** Called after each batch with the numbers of sequences that are done, and of all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** What a call of {@link Encoder.encode} computed. */
export interface EncodeReport {
  readonly sequences: number;
  readonly batches: number;
  /** Positions of the sequences, with those of a decoder or a memory. */
  readonly tokens: number;
  /** Rows that were computed, padding included. */
  readonly rows: number;
  /** The share of padding in the rows, 0 to 1. */
  readonly padding: number;
  readonly milliseconds: number;
  readonly tokensPerSecond: number;
  readonly layout: EncoderLayout;
  readonly kernels: readonly string[];
}

/** A model over lists of sequences. */
export interface Encoder {
  /**
   * The outputs of each sequence by name, in the order of the list: as the model returns them for the sequence alone, without the axis of the batch. An output with rows for
   * positions is [length, …], weights of pairs of positions are [heads, length, length].
   */
  encode(sequences: readonly EncoderSequence[], options?: EncodeOptions): Promise<readonly Readonly<Record<string, Tensor>>[]>;
  /** The layout that was chosen. */
  readonly layout: EncoderLayout;
  /** Why `auto` did not choose the packed layout. */
  readonly why?: string;
  /** The kernels of its attention, as {@link explain} names them. */
  readonly kernels: readonly string[];
  readonly model: Model;
  /** The last call. */
  readonly report: EncodeReport | undefined;
  /** Waits for the runs that were started and frees the session. */
  dispose(): Promise<void>;
}

/**
 * Compiles a model for lists of sequences and opens it. `encode` sorts the sequences by length, runs them in batches, and returns the results in the order of the
 * list. What else is in a batch does not change the result of a sequence beyond rounding: by less than 2·10⁻⁵ of numbers of size 1 in float32.
 *
 * `layout: 'auto'` packs the sequences, unless the model cannot run packed or its attention would need a tensor over all pairs of tokens; then it pads them; and
 * if the model cannot mask padding, it runs sequences of equal length together.
 *
 * Throws   ConfigError for a model without an axis of positions, or an output that does not belong to sequences · what `compile` and `createRunner` throw
 * Example  const encoder = await createEncoder(block, ort, { target: targets.cpu, weights });
 */
export async function createEncoder(module: AnyModule, ort: Ort, options: EncoderOptions): Promise<Encoder> {
  checkArguments('createEncoder', { module, ort, options });
  const { layout: wanted = 'auto', maxTokens = 16_384, multipleOf = 8, runner, inputs = inputsOf(module), ...o } = options;
  for (const [name, n] of Object.entries({ maxTokens, multipleOf }))
    if (!(Number.isSafeInteger(n) && n > 0))
      throw new ConfigError({
        path: `options.${name}`,
        problem: 'not a count',
        expected: 'an integer of at least 1',
        got: describe(n),
      });
  checkWord('options.layout', wanted, ['packed', 'padded', 'buckets', 'auto']);
  const axes = axesOf(inputs);
  const { model, layout, why } = compiled(module, wanted, { ...o, inputs }, axes);
  const outputs = perSequence(model, axes);
  const run: Runner = await createRunner(model, ort, runner);
  const isPacked = layout === 'packed';
  const widths = axes.map((axis) => {
    const allowed = limitOf(model, axis);
    return (longest: number): number => (layout === 'padded' ? widthOf(longest, multipleOf, allowed) : longest);
  });
  const kernels = kernelsOf(model);
  const paddedAttention = layout === 'padded' || padsRows(model);
  let report: EncodeReport | undefined;

  async function encode(list: readonly EncoderSequence[], { onProgress }: EncodeOptions = {}) {
    const start = performance.now();
    const sequences = list.map((sequence, i) => byName(sequence, axes, i));
    const lengths = sequences.map((sequence, i) => axes.map((axis) => lengthAlong(axis, sequence, i)));
    const batches = batchesOf(lengths, {
      maxTokens,
      ...(!isPacked && { widths }),
      alike: layout === 'buckets',
      paddedAttention,
    });
    const results: Readonly<Record<string, Tensor>>[] = new Array(list.length);
    let [done, rows, tokens] = [0, 0, 0];
    for (const indices of batches) {
      const batch = axes.map((axis, a): AxisBatch => {
        const own = indices.map((i) => lengths[i]![a]!);
        return { axis, lengths: own, ...(!isPacked && { width: widths[a]!(own.reduce((most, n) => Math.max(most, n))) }) };
      });
      const feeds = feedsOf(
        indices.map((i) => sequences[i]!),
        inputs,
        batch,
        layout !== 'buckets',
      );
      const computed = await run(feeds);
      for (const [name, separated] of Object.entries(outputs)) {
        const parts = separated(computed[name]!, batch);
        indices.forEach((i, at) => {
          results[i] = { ...results[i], [name]: parts[at]! };
        });
      }
      for (const { lengths: own, width } of batch) {
        const real = own.reduce((a, b) => a + b, 0);
        tokens += real;
        rows += width === undefined ? real : own.length * width;
      }
      done += indices.length;
      onProgress?.(done, list.length);
    }
    const milliseconds = performance.now() - start;
    report = {
      sequences: list.length,
      batches: batches.length,
      tokens,
      rows,
      padding: rows ? 1 - tokens / rows : 0,
      milliseconds,
      tokensPerSecond: milliseconds ? (1000 * tokens) / milliseconds : 0,
      layout,
      kernels,
    };
    return results;
  }

  return {
    encode,
    layout,
    ...(why !== undefined && { why }),
    kernels,
    model,
    get report() {
      return report;
    },
    dispose: () => run.dispose(),
  };
}

// ---- The model -------------------------------------------------------------------------------------------------------------

interface Chosen {
  readonly model: Model;
  readonly layout: EncoderLayout;
  readonly why?: string;
}

function compiled(module: AnyModule, wanted: EncoderLayout | 'auto', o: CompileOptions, axes: readonly Axis[]): Chosen {
  const make: Readonly<Record<EncoderLayout, () => Model>> = {
    packed: () => compile(module, { ...o, inputs: packedInputs(o.inputs, axes), layout: 'packed' }),
    padded: () => compile(module, { ...o, inputs: { ...o.inputs, ...lengthInputs(axes) }, layout: 'padded' }),
    buckets: () => compile(module, { ...o, layout: 'padded' }),
  };
  if (wanted !== 'auto') return { model: make[wanted](), layout: wanted };
  const packed = attempt(make.packed);
  const why = packed.why ?? overAllPairs(packed.model);
  if (packed.model && why === undefined) return { model: packed.model, layout: 'packed' };
  const padded = attempt(make.padded);
  if (padded.model) return { model: padded.model, layout: 'padded', why: why! };
  return { model: make.buckets(), layout: 'buckets', why: why === padded.why ? why! : `${why}; padded: ${padded.why}` };
}

type Attempt = { readonly model: Model; readonly why?: undefined } | { readonly model?: undefined; readonly why: string };

function attempt(make: () => Model): Attempt {
  try {
    return { model: make() };
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof ShapeError || error instanceof LoweringError)) throw error;
    return { why: error.message };
  }
}

/** The longest sequences that the model takes along an axis. */
function limitOf({ signature }: Model, { size: axis }: Axis): (width: number) => boolean {
  const limits = (signature.limits ?? []).filter(({ size, max }) => typeof size === 'string' && typeof max === 'number');
  const ofLengths = limits.filter(({ size }) => namesOfDim(size!).every((name) => name === axis));
  return (width) => ofLengths.every(({ size, max }) => evaluateDim(size!, { [axis]: width }) <= (max as number));
}

/** True if a packed model computes rows of padding in any case; not if an If on sizes avoids them where they would be many. */
function padsRows({ signature, graph }: Model): boolean {
  const longest = new Set(
    signature.inputs.filter(({ derived }) => derived?.how === 'tokenOffset').flatMap(({ dims }) => namesOfDim(dims[1]!)),
  );
  return graph.nodes.some(({ outputs }) =>
    outputs.some(({ dims }) => dims.some((d) => namesOfDim(d).some((n) => longest.has(n)))),
  );
}

function kernelsOf(model: Model): readonly string[] {
  const ops = explain(model).blocks.flatMap((block) => block.ops);
  const ofAttention = ops.filter(({ op }) => op === 'Attend' || op === 'FlexAttend');
  return [...new Set(ofAttention.flatMap(({ runs, kernels }) => (runs.length ? runs.map(({ kernel }) => kernel) : kernels)))];
}

// An attention whose mask of packed sequences became a tensor over all pairs of tokens.
function overAllPairs({ decisions }: Model): string | undefined {
  for (const { path, notes } of decisions)
    for (const note of notes)
      if (note.code === 'maskOverScores' && (note.data as { readonly kinds?: readonly string[] }).kinds?.includes('documents'))
        return `${path}: ${note.text}`;
  return undefined;
}
