// The time of one op: the slope between graphs of few and of many copies, which excludes starts, copies from JavaScript and launches.
import {
  type AnyModule,
  type CompileOptions,
  compile,
  createRunner,
  type Model,
  type Ort,
  type Runner,
  tensor,
} from '@onnxformers/core';

/** Number of repetitions and copies. */
export interface SlopeOptions {
  /** Copies in the short graph, and additional copies in the long one. */
  readonly few?: number;
  readonly more?: number;
  readonly repetitions?: number;
  readonly warmups?: number;
  readonly session?: Readonly<Record<string, unknown>>;
}

/** Milliseconds for one copy. */
export interface Measured {
  readonly median: number;
  /** Half the distance between the quartiles. */
  readonly spread: number;
  /** Of the graph with many copies. */
  readonly model: Model;
  readonly device: string;
}

const input = { shift: tensor('float32', [1], [0.25]) };

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
  { few = 2, more = 16, repetitions = 15, warmups = 3, session = {} }: SlopeOptions = {},
): Promise<Measured> {
  const make = async (copies: number): Promise<{ model: Model; run: Runner }> => {
    const model = compile(chain(copies), { ...o, inputs: { shift: ['float32', [1]] } });
    return { model, run: await createRunner(model, ort, { session: { graphOptimizationLevel: 'disabled', ...session } }) };
  };
  const [short, long] = [await make(few), await make(few + more)];
  const time = async (run: Runner): Promise<number> => {
    const start = performance.now();
    await run(input);
    return performance.now() - start;
  };
  try {
    for (let i = 0; i < warmups; i++) for (const { run } of [short, long]) await run(input);
    const times: number[] = [];
    // In turn, so that a drift of the machine affects both.
    for (let i = 0; i < repetitions; i++) {
      const a = await time(short.run);
      times.push(((await time(long.run)) - a) / more);
    }
    const at = (share: number): number => [...times].sort((x, y) => x - y)[Math.round(share * (times.length - 1))]!;
    return { median: at(0.5), spread: (at(0.75) - at(0.25)) / 2, model: long.model, device: long.run.device };
  } finally {
    await short.run.dispose();
    await long.run.dispose();
  }
}
