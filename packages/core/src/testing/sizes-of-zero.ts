// No sequences, no queries, no keys: zeros and empty results on every target, caches as they were, and gradients of 0.
import type { AnyBlock } from '../block/block-definition';
import { compile, type Model } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { type Dim, substituteDim } from '../dim/dim';
import { ConfigError, OnnxformersError } from '../error';
import { interpret } from '../interpret/interpret';
import { isPastRole } from '../ir/graph';
import type { BlockInputs } from '../module/kinds';
import { type AnyModule, namesOf } from '../module/module';
import type { Parameter } from '../parameter/parameter';
import { createRunner, type Runner } from '../runtime/runner';
import { pastOf } from '../sequence/io-state';
import { toArray, toTensor } from '../tensor/convert';
import type { NDArray, Tensor } from '../tensor/tensor';
import { compare, printComparison } from './close';
import { completedFeeds, drawsOf, type Example, exampleOf, type Feeds, feedsFor, type Sizes, sizesOf } from './example';
import type { ParityOptions, ParityTarget } from './parity';
import { budgetsOf } from './rounding';
import { randomParameters, traceBlock } from './run-block';
import { causally, gradientsOf, summed, typesOf, wideHeads } from './variants';

/** What {@link sizesOfZero} is run with. */
export type SizesOfZeroOptions = Pick<ParityOptions, 'describe' | 'it' | 'registry' | 'targets'> & {
  /** Called with the cases that an example refuses, for a snapshot, so that they cannot increase unnoticed. */
  readonly snapshot?: (refused: readonly string[]) => void;
};

/**
 * Registers tests that each example is right on each target if a size of its inputs is 0, or all of them: as symbolic sizes and as known ones, alone and with a
 * causal mask (symbolic sizes only), without a state, with a growing cache and with one of fixed capacity,
 * also after a call that filled the cache. The results are compared with those
 * of the interpreter. The sum of the squares of the results is an output too, so that the runtime runs the kernels even if the results are empty; without it, the
 * runner knows them. For targets with `gradients`, the gradients of that sum are compared as well. Each model runs without the runtime's own
 * optimisations and with all of them.
 *
 * Example  sizesOfZero(zoo.blocks, { describe, it, registry: zoo, targets: [{ target: targets.cpu, ort }] });
 */
export function sizesOfZero(
  blocks: readonly AnyBlock[],
  { describe, it, registry, targets, snapshot }: SizesOfZeroOptions,
): void {
  const refused = new Set<string>();
  for (const block of blocks)
    describe(`${block.kind} ${block.blockName}`, () => {
      block.definition.examples.forEach((_: unknown, index: number) => {
        for (const on of targets)
          it(`example ${index} on ${on.name ?? on.target.name}`, async () => {
            const example = exampleOf(block, index, registry);
            const faults: string[] = [];
            for (const one of casesOf(example, on))
              try {
                await tryCase(example, one, on);
              } catch (error) {
                // A block without positions has no state, whatever its sizes.
                if (error instanceof Refusal && error.cause instanceof ConfigError && one.options.state) continue;
                if (error instanceof Refusal)
                  refused.add(`${block.kind} ${block.blockName}, example ${index}, ${one.name}: ${error.message}`);
                else faults.push(`${one.name}: ${(error as Error).message}`);
              }
            if (faults.length) throw new Error(`${faults.length} cases fail:\n${faults.join('\n')}`);
          });
      });
    });
  if (snapshot) it('refuses these cases, and no others', () => snapshot([...refused].sort()));
}

/** The block itself refuses the case. */
class Refusal extends Error {}

interface ZeroCase {
  readonly name: string;
  readonly module: AnyModule;
  readonly inputs: BlockInputs;
  readonly options: Partial<CompileOptions>;
  /** Sizes of the calls of one model, each with some of 0. */
  readonly calls: readonly Sizes[];
  /** Sizes of a call that fills the caches first, if there is a cache. */
  readonly usual?: Sizes;
}

const capacity = 13;
const states: Readonly<Record<string, Partial<CompileOptions>>> = {
  '': {},
  'a growing cache': { state: 'io', assumptions: ['prefill into empty cache'] },
  'a cache of fixed capacity': { state: { io: capacity }, assumptions: ['prefill into empty cache'] },
};

function casesOf(example: Example, on: ParityTarget): readonly ZeroCase[] {
  const inputs = wideHeads(example);
  const usual = sizesOf({ inputs, longest: example.longest }, 5);
  const names = Object.keys(usual);
  const zeros = [...names.map((name) => [name]), ...(names.length > 1 ? [names] : [])];
  const calls = zeros.map((set): Sizes => ({ ...usual, ...Object.fromEntries(set.map((name) => [name, 0])) }));
  const modules: readonly (readonly [string, AnyModule])[] = [
    ['', summed(example.module)],
    ['causal', summed(causally(example.module))],
    ...(on.gradients ? [['gradients', gradientsOf(example).module] as const] : []),
  ];
  return modules
    .filter(([, module]) => supports(module, inputs))
    .flatMap(([under, module]) =>
      Object.entries(states).flatMap(([state, options]): ZeroCase[] => {
        if (under === 'gradients' && options.state) return [];
        const name = (...more: readonly string[]) => [under, state, ...more].filter((part) => part).join(', ') || 'alone';
        const known = (sizes: Sizes): BlockInputs =>
          Object.fromEntries(
            Object.entries(inputs).map(([of, input]) => [of, { ...input, dims: input.dims.map((d) => knownSize(d, sizes)) }]),
          );
        return [
          { name: name(), module, inputs, options, calls, usual },
          // A causal mask changes what is computed, and not which sizes are known.
          ...(under === 'causal' ? [] : calls).flatMap((sizes, i) => {
            const only: Sizes = Object.fromEntries(zeros[i]!.map((of) => [of, 0]));
            const calledWith = { module, options, calls: [sizes] };
            return [
              { ...calledWith, name: name(`${zeros[i]} known to be 0`), inputs: known(sizes) },
              ...(zeros[i]!.length < names.length
                ? [{ ...calledWith, name: name(`only ${zeros[i]} known, as 0`), inputs: known(only) }]
                : []),
            ];
          }),
        ];
      }),
    );
}

const knownSize = (d: Dim, sizes: Sizes): Dim => substituteDim(d, (name) => sizes[name]);

// A mask that the block refuses with any sizes.
function supports(module: AnyModule, inputs: BlockInputs): boolean {
  try {
    traceBlock(module, typesOf(inputs));
    return true;
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

async function tryCase(example: Example, one: ZeroCase, on: ParityTarget): Promise<void> {
  const { byName } = randomParameters(one.module);
  const weights = new Map([...namesOf(one.module).parameters.keys()].map((name) => [name, toTensor(byName[name]!)]));
  const { target } = on;
  const model = refusing(() => compile(one.module, { target, inputs: typesOf(one.inputs), ...one.options, weights }));
  const { inputs } = model.signature;
  // A block without a cache is the same as without a state.
  if (one.options.state && !inputs.some(({ role }) => isPastRole(role))) return;
  const inputsOf = wideHeads(example);
  const fed = (sizes: Sizes): Feeds => ({ ...feedsFor(inputsOf, sizes), ...drawsOf(model.traced, sizes) });
  const runs: [level: string, run: Runner][] = [];
  const call = (feeds: Feeds, sizes: Sizes) => checked(model, runs, weights, feeds, sizes);
  // What sizes without 0 give is compared by other tests, which have a budget for it once and not in every case.
  const unchecked = (feeds: Feeds): Promise<Record<string, Tensor>> => outputsOf(model, runs, feeds);
  try {
    for (const level of ['disabled', 'all'])
      runs.push([
        `optimisation ${level}`,
        await createRunner(model, on.ort, { session: { ...on.session, graphOptimizationLevel: level } }),
      ]);
    for (const sizes of one.calls) {
      // The memory that this leaves is not 0: a kernel that omits to write an empty sum would return it.
      if (one.usual) await unchecked(fed(one.usual));
      await call(fed(sizes), sizes);
      if (!one.options.state || !one.usual) continue;
      const { batch } = sizes;
      const before: Sizes = { ...one.usual, ...(batch !== undefined && { batch }) };
      const filled = pastOf(Object.values(before).includes(0) ? await call(fed(before), before) : await unchecked(fed(before)));
      const later: Sizes = {
        ...sizes,
        ...('memory_seq' in sizes && { memory_seq: 0, past_memory: before.memory_seq! }),
        past: before.seq!,
        // More tokens are prefilled only into an empty cache.
        ...(sizes.seq && { seq: 1 }),
      };
      const pastLengths = inputs.find(({ derived, role }) => derived?.how === 'past_lengths' && !derived.plus && !role);
      const next: Feeds = {
        ...fed(later),
        ...Object.fromEntries(Object.entries(filled).map(([name, t]) => [name, toArray(t)])),
        ...(pastLengths && { past_lengths: int64s(batch ?? 1, before.seq!) }),
      };
      const after = pastOf(await call(next, later));
      if (later.seq === 0) for (const [name, t] of Object.entries(filled)) checkSame(name, after[name]!, toArray(t), 0);
    }
  } finally {
    for (const [, run] of runs) await run.dispose();
  }
}

const int64s = (length: number, value: number): NDArray => ({
  dtype: 'int64',
  dims: [length],
  data: new Float64Array(length).fill(value),
});

function refusing<T>(f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (error instanceof OnnxformersError)
      throw new Refusal(`${error.name} at ${error.path}: ${error.problem}`, { cause: error });
    throw error;
  }
}

/** The outputs of the last of the runners. */
async function outputsOf(
  { traced, signature }: Model,
  runs: readonly (readonly [level: string, run: Runner])[],
  feeds: Feeds,
  check: (level: string, outputs: Record<string, Tensor>) => void = () => {},
): Promise<Record<string, Tensor>> {
  // Draws that nothing is computed from are not inputs of the model.
  const drawn = new Set(traced.inputs.flatMap(({ leaf }) => (leaf?.kind === 'draw' ? [leaf.name] : [])));
  const read = new Set(signature.inputs.map(({ name }) => name));
  const fed = Object.entries(feeds).filter(([name]) => read.has(name) || !drawn.has(name));
  let outputs: Record<string, Tensor> = {};
  for (const [level, run] of runs) {
    outputs = await run(Object.fromEntries(fed.map(([name, x]) => [name, toTensor(x)])));
    check(level, outputs);
  }
  return outputs;
}

async function checked(
  model: Model,
  runs: readonly (readonly [level: string, run: Runner])[],
  weights: ReadonlyMap<string, Tensor>,
  feeds: Feeds,
  sizes: Sizes,
): Promise<Record<string, Tensor>> {
  const { traced, names } = model;
  const bound: Sizes = { past: 0, past_memory: 0, ...sizes };
  const given: Feeds = Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toArray(toTensor(x))]));
  const all = { ...completedFeeds(traced, given, bound), ...given };
  const options = { parameters: (p: Parameter) => toArray(weights.get(names.nameOf.get(p)!)!), sizes: bound };
  const exact = refusing(() => interpret(traced, all, options));
  const budgets = budgetsOf(traced, all, options, exact);
  const at = Object.entries(sizes).map(([name, size]) => `${name} ${size}`);
  return outputsOf(model, runs, feeds, (level, outputs) => {
    for (const [name, y] of Object.entries(exact))
      checkSame(`${name} at ${at.join(', ')}, ${level}`, outputs[name]!, y, budgets[name]!);
  });
}

function checkSame(name: string, got: Tensor, expected: NDArray, atol: number): void {
  const result = compare(got, { ...expected, dtype: got.dtype }, { atol, rtol: 0 });
  if (!result.close) throw new Error(`${name}: ${printComparison(result)}`);
}
