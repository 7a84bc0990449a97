// The time of one op: the slope between graphs of few and of many copies, which excludes starts, copies from JavaScript and launches.
import {
  type AnyModule,
  type CompileOptions,
  compile,
  createRunner,
  type InputType,
  type Model,
  type Ort,
  type Runner,
  type Tensor,
  tensor,
} from '@onnxformers/core';
import { spent, type Times, timesOf } from './times';

/** Number of repetitions and copies. */
export interface SlopeOptions {
  /** Copies in the short graph, and additional copies in the long one. */
  readonly few?: number;
  readonly more?: number;
  readonly repetitions?: number;
  readonly warmups?: number;
  readonly session?: Readonly<Record<string, unknown>>;
  /** Further inputs of the chain, and what is fed to them. */
  readonly inputs?: Readonly<Record<string, InputType>>;
  readonly feeds?: Readonly<Record<string, Tensor>>;
}

/** Milliseconds for one copy. */
export interface Measured extends Times {
  /** Processor time of one copy, of all cores together. */
  readonly processor: number;
  /** Of the graph with many copies. */
  readonly model: Model;
  readonly device: string;
}

const shift = tensor('float32', [1], [0.25]);

/**
 * Options of a session that runs a chain: no optimiser that could see through it, and denormal numbers as 0, to which the results of a long
 * chain may shrink, and which processors compute slowly.
 */
export function chainSession(own: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  const extra = own.extra as { readonly session?: object } | undefined;
  return {
    graphOptimizationLevel: 'disabled',
    ...own,
    extra: { ...extra, session: { set_denormal_as_zero: '1', ...extra?.session } },
  };
}

/**
 * Measures a chain of copies. `chain(n)` is a module with the input `shift` float32 [1], which generates its data from it inside the graph, applies
 * the op n times, each to the previous result, and returns a small result.
 *
 * Throws   RunError when the runtime cannot load or run the graphs
 */
export async function slope(
  chain: (copies: number) => AnyModule,
  o: Omit<CompileOptions, 'inputs'>,
  ort: Ort,
  { few = 2, more = 16, repetitions = 15, warmups = 3, session = {}, inputs = {}, feeds = {} }: SlopeOptions = {},
): Promise<Measured> {
  const make = async (copies: number): Promise<{ model: Model; run: Runner }> => {
    const model = compile(chain(copies), { ...o, inputs: { ...inputs, shift: ['float32', [1]] } });
    return { model, run: await createRunner(model, ort, { session: chainSession(session) }) };
  };
  const [short, long] = [await make(few), await make(few + more)];
  const input = { ...feeds, shift };
  try {
    for (let i = 0; i < warmups; i++) for (const { run } of [short, long]) await run(input);
    const times: number[] = [];
    const processor: number[] = [];
    // In turn, so that a drift of the machine affects both.
    for (let i = 0; i < repetitions; i++) {
      const a = await spent(() => short.run(input));
      const b = await spent(() => long.run(input));
      times.push((b.passed - a.passed) / more);
      processor.push((b.processor - a.processor) / more);
    }
    return { ...timesOf(times), processor: timesOf(processor).median, model: long.model, device: long.run.device };
  } finally {
    await short.run.dispose();
    await long.run.dispose();
  }
}
