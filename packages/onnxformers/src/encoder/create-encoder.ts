// A model over a list of sequences of any lengths: sorted, batched, packed or padded, run, and returned in the order of the list.
import {
  type AnyModule,
  type CompileOptions,
  ConfigError,
  checkArguments,
  checkWord,
  compile,
  createRunner,
  type Dim,
  describe,
  evaluateDim,
  explain,
  FeedError,
  LoweringError,
  type Model,
  namesOfDim,
  type Ort,
  type Runner,
  type RunnerOptions,
  ShapeError,
  type Tensor,
  tensor,
} from '@onnxformers/core';
import { PadRows } from '@onnxformers/core/ops';
import { inputsOf } from '../inputs';
import { batchesOf, widthOf } from './batches';
import { lengthOf, pack, rowsOf, type Sequence, unpack } from './pack';

/** Options of {@link createEncoder}: those of `compile`, and how sequences are batched. */
export interface EncoderOptions extends Omit<CompileOptions, 'layout' | 'inputs'> {
  /** The inputs of the padded model, without `lengths`; default: those of the block. Each has the axes [batch, seq, …]. */
  readonly inputs?: CompileOptions['inputs'];
  /** How the sequences of a batch are arranged; `auto`, the default, chooses (see {@link createEncoder}). */
  readonly layout?: EncoderLayout | 'auto';
  /**
   * Rows of a batch at most, padding included; default 16,384. A longer sequence is a batch of its own. Where attention computes padding, a batch of 2,048 rows
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

/** The inputs of one sequence: numbers or rows [length, …] by name, or those of the only input. */
export type EncoderSequence = Sequence | Readonly<Record<string, Sequence>>;

/** Options of {@link Encoder.encode}. */
export interface EncodeOptions {
  /** Called after each batch with the numbers of sequences that are done, and of all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** What a call of {@link Encoder.encode} computed. */
export interface EncodeReport {
  readonly sequences: number;
  readonly batches: number;
  /** Positions of the sequences. */
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
  /** The outputs of each sequence by name, in the order of the list: [length, …] for outputs with rows for positions, otherwise […]. */
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
 * list. What else is in a batch does not change the result of a sequence beyond rounding.
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
  const names = namesOf(inputs);
  const { model, layout, why } = compiled(module, wanted, { ...o, inputs });
  const outputs = outputsOf(model);
  const run: Runner = await createRunner(model, ort, runner);
  const padded = layout === 'padded';
  const widthFor = (longest: number): number => (padded ? widthOf(longest, multipleOf, limitOf(model)) : longest);
  const kernels = kernelsOf(model);
  const paddedAttention = padded || model.decisions.some(({ op }) => op === PadRows.key);
  let report: EncodeReport | undefined;

  async function encode(list: readonly EncoderSequence[], { onProgress }: EncodeOptions = {}) {
    const start = performance.now();
    const sequences = list.map((sequence, i) => byName(sequence, names, i));
    const lengths = sequences.map((sequence, i) => commonLength(sequence, i));
    const batches = batchesOf(lengths, {
      maxTokens,
      ...(layout !== 'packed' && { widthFor }),
      alike: layout === 'buckets',
      paddedAttention,
    });
    const results: Readonly<Record<string, Tensor>>[] = new Array(list.length);
    let [done, rows] = [0, 0];
    for (const batch of batches) {
      const own = batch.map((i) => lengths[i]!);
      const width = widthFor(own[0]!);
      const feeds = Object.fromEntries(
        names.map((name) => {
          const dtype = inputs[name]![0];
          const { tokens } = pack(
            batch.map((i) => sequences[i]![name]!),
            dtype,
          );
          return [name, layout === 'packed' ? tokens : inRectangle(tokens, own, width)];
        }),
      );
      const computed = await run(layout === 'buckets' ? feeds : { ...feeds, lengths: tensor('int64', [own.length], own) });
      for (const [name, perSequence] of Object.entries(outputs)) {
        const parts = perSequence(computed[name]!, own, width);
        batch.forEach((i, at) => {
          results[i] = { ...results[i], [name]: parts[at]! };
        });
      }
      rows += layout === 'packed' ? own.reduce((a, b) => a + b, 0) : own.length * width;
      done += batch.length;
      onProgress?.(done, list.length);
    }
    const milliseconds = performance.now() - start;
    const tokens = lengths.reduce((a, b) => a + b, 0);
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

// ---- Inputs ----------------------------------------------------------------------------------------------------------------

function namesOf(inputs: CompileOptions['inputs']): readonly string[] {
  for (const [name, [, dims]] of Object.entries(inputs))
    if (dims[0] !== 'batch' || dims[1] !== 'seq')
      throw new ConfigError({
        path: `inputs.${name}`,
        problem: 'the input has no axis of positions',
        expected: '[batch, seq, …]',
        got: `[${dims.join(', ')}]`,
        hint: 'compile and createRunner run models with other inputs',
      });
  return Object.keys(inputs);
}

function byName(sequence: EncoderSequence, names: readonly string[], i: number): Readonly<Record<string, Sequence>> {
  const single = 'length' in sequence || 'dims' in sequence;
  const named = (single ? { [names[0]!]: sequence } : sequence) as Readonly<Record<string, Sequence>>;
  const given = Object.keys(named);
  if (given.length !== names.length || names.some((name) => !given.includes(name)))
    throw new FeedError({
      path: `sequences[${i}]`,
      problem: 'the inputs are not those of the model',
      expected: names.join(', '),
      got: single ? 'one list' : given.join(', '),
    });
  return named;
}

function commonLength(sequence: Readonly<Record<string, Sequence>>, i: number): number {
  const lengths = [...new Set(Object.values(sequence).map(lengthOf))];
  if (lengths.length === 1 && lengths[0]! > 0) return lengths[0]!;
  throw new FeedError({
    path: `sequences[${i}]`,
    problem: lengths.length === 1 ? 'the sequence is empty' : 'the inputs of a sequence differ in length',
    expected: lengths.length === 1 ? 'at least one position' : 'the same number of positions',
    got: lengths.join(', '),
  });
}

// Packed rows as [sequences, width, …], with zeros as padding.
function inRectangle(packed: Tensor, lengths: readonly number[], width: number): Tensor {
  const inner = packed.dims.slice(1);
  const row = inner.reduce((a, b) => a * b, 1);
  const data = new (packed.data.constructor as new (length: number) => Tensor['data'])(lengths.length * width * row);
  unpack(packed, lengths).forEach((part, i) => {
    (data as Float32Array).set(part.data as Float32Array, i * width * row);
  });
  return { dtype: packed.dtype, dims: [lengths.length, width, ...inner], data };
}

// ---- The model -------------------------------------------------------------------------------------------------------------

interface Chosen {
  readonly model: Model;
  readonly layout: EncoderLayout;
  readonly why?: string;
}

function compiled(module: AnyModule, wanted: EncoderLayout | 'auto', o: CompileOptions): Chosen {
  const lengths = { lengths: ['int64', ['batch'], 'lengths'] } as const;
  const inRows = Object.fromEntries(
    Object.entries(o.inputs).map(([name, [dtype, [, , ...inner], role]]) => [
      name,
      [dtype, ['tokens', ...inner], ...(role === undefined ? [] : [role])] as never,
    ]),
  );
  const make: Readonly<Record<EncoderLayout, () => Model>> = {
    packed: () => compile(module, { ...o, inputs: { ...inRows, ...lengths }, layout: 'packed' }),
    padded: () => compile(module, { ...o, inputs: { ...o.inputs, ...lengths }, layout: 'padded' }),
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

/** The longest sequences that the model takes. */
function limitOf({ signature }: Model): (width: number) => boolean {
  const limits = (signature.limits ?? []).filter(({ size, max }) => typeof size === 'string' && typeof max === 'number');
  const ofLengths = limits.filter(({ size }) => namesOfDim(size!).every((name) => name === 'seq'));
  return (width) => ofLengths.every(({ size, max }) => evaluateDim(size!, { seq: width }) <= (max as number));
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

type PerSequence = (result: Tensor, lengths: readonly number[], width: number) => readonly Tensor[];

/** How the results of a batch belong to its sequences. */
function outputsOf({ signature }: Model): Readonly<Record<string, PerSequence>> {
  return Object.fromEntries(signature.outputs.map(({ name, dims }) => [name, perSequence(name, dims)]));
}

function perSequence(name: string, dims: readonly Dim[]): PerSequence {
  // Rows for prefix tokens too: [tokens + batch].
  if (dims[0] !== undefined && namesOfDim(dims[0]).includes('tokens'))
    return (x, lengths) =>
      unpack(
        x,
        lengths.map((n) => evaluateDim(dims[0]!, { tokens: n, batch: 1 })),
      );
  const each: PerSequence = (x, lengths) =>
    lengths.map((_, i) => {
      const {
        dtype,
        dims: [, ...inner],
        data,
      } = rowsOf(x, i, i + 1);
      return { dtype, dims: inner, data };
    });
  if (dims[0] === 'batch' && dims[1] !== undefined && namesOfDim(dims[1]).includes('seq'))
    return (x, lengths, width) =>
      each(x, lengths, width).map((row, i) => rowsOf(row, 0, evaluateDim(dims[1]!, { seq: lengths[i]! })));
  if (dims[0] === 'batch') return each;
  throw new ConfigError({
    path: `outputs.${name}`,
    problem: 'the output belongs neither to positions nor to sequences',
    expected: '[batch, …] or [batch, seq, …]',
    got: `[${dims.join(', ')}]`,
  });
}
