// From a config to tokens: the same model compiled for one step at a time, and for a whole generation in one run.
import { readFile } from 'node:fs/promises';
import {
  type Assumption,
  compile,
  generate,
  initialize,
  type KindModule,
  type Model,
  pastOf,
  type Runner,
  type Target,
  type Tensor,
  tensor,
  type Value,
  withForward,
  zoo,
} from 'onnxformers';

type LanguageModel = KindModule<'model'>;
/** A sequence of byte values: the vocabulary of this model. */
export type Bytes = readonly number[];

const ids = { ids: ['int64', ['batch', 'seq']] } as const;
// The whole prompt is one call (prefill), which allows the kernel with a cache; see "assumptions" in docs/guides/how-compilation-works.md.
const assumptions: readonly Assumption[] = ['prefill into empty cache'];

/** The model of a config file. Unknown fields, wrong values and misspelt names are refused with their path. */
export async function readModel(path: string | URL): Promise<LanguageModel> {
  return zoo.parse('model', JSON.parse(await readFile(path, 'utf8')));
}

/** One step: ids and cache → logits and cache. The cache is inputs and outputs, `past_key_values.…` and `present.…`. */
export function compileStep(model: LanguageModel, { target, seed }: { target: Target; seed: number }): Model {
  return compile(model, { target, inputs: ids, weights: initialize(model, { scheme: 'small', seed }), state: 'io', assumptions });
}

/** A whole greedy generation: ids → tokens, with the cache inside an ONNX Loop. Blocks and weights are the same. */
export function compileGeneration(
  model: LanguageModel,
  { target, seed, steps, capacity }: { target: Target; seed: number; steps: number; capacity: number },
): Model {
  const generation = withForward(model, ({ ids: prompt }: Readonly<Record<string, Value>>) => ({
    tokens: generate(prompt!.graph.root, {
      prompt: prompt!,
      steps,
      capacity,
      step: (next, ctx) => model.forward({ ids: next }, ctx).logits!,
    }),
  }));
  return compile(generation, { target, inputs: ids, weights: initialize(model, { scheme: 'small', seed }), assumptions });
}

/** The ids of one sequence as a batch of one. */
export const batchOf = (tokens: Bytes): Tensor => tensor('int64', [1, tokens.length], tokens);

/** Token by token: each run is fed one new id and the cache of the previous run. */
export async function generateByStep(run: Runner, prompt: Bytes, steps: number): Promise<number[]> {
  const generated: number[] = [];
  let kept: Record<string, Tensor> = {};
  for (let next = prompt; generated.length < steps; next = generated.slice(-1)) {
    const outputs = await run({ ids: batchOf(next), ...kept });
    kept = pastOf(outputs);
    generated.push(likeliest(outputs.logits!));
  }
  return generated;
}

/** All tokens in one run. */
export async function generateInLoop(run: Runner, prompt: Bytes): Promise<number[]> {
  const { tokens } = await run({ ids: batchOf(prompt) });
  return Array.from(tokens!.data as BigInt64Array, Number);
}

// The last position of logits [1, seq, vocab].
function likeliest({ data, dims: [, seq = 1, vocab = 1] }: Tensor): number {
  const row = (data as Float32Array).subarray((seq - 1) * vocab);
  return row.reduce((best, x, i) => (x > row[best]! ? i : best), 0);
}
