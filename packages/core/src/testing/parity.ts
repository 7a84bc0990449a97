// The same numbers on every target: examples of blocks, lowered and in standard ONNX, in a runtime without graph optimisation.
import type { AnyBlock } from '../block/block-definition';
import type { Registry } from '../block/registry';
import { compile, type Model } from '../compile/compile';
import { interpret } from '../interpret/interpret';
import type { Target } from '../lower/target';
import { namesOf } from '../module/module';
import type { Parameter } from '../parameter/parameter';
import type { Ort } from '../runtime/ort';
import { createRunner, type RunnerOptions } from '../runtime/runner';
import { toArray, toTensor } from '../tensor/convert';
import type { NDArray, Tensor } from '../tensor/tensor';
import { compare, printComparison } from './close';
import { derivedOf, drawsOf, exampleOf, feedsFor } from './example';
import { budgetsOf, largestOf } from './rounding';
import { randomParameters } from './run-block';
import { spoiled } from './spoiled';
import { gradientsOf, triedVariants, typesOf, type Variant } from './variants';

/** A target, and the runtime that runs its models. */
export interface ParityTarget {
  readonly target: Target;
  readonly ort: Ort;
  /** Distinguishes it from others of the same target: `optimised`. */
  readonly name?: string;
  /** Options of the runtime's session. Default: without graph optimisation. */
  readonly session?: RunnerOptions['session'];
  /** Whether the gradients of each example are compared as well. */
  readonly gradients?: boolean;
}

/** What {@link parity} is run with. */
export interface ParityOptions {
  /** Of your test framework. */
  readonly describe: (name: string, f: () => void) => void;
  /** Of your test framework. */
  readonly it: (name: string, f: () => void | Promise<void>) => void;
  /** Finds the blocks in the slots of examples. */
  readonly registry: Pick<Registry, 'find' | 'parse' | 'toJSON'>;
  readonly targets: readonly ParityTarget[];
  /** Maximum number of positions in a sequence, and in all packed ones together, for runtimes that are wrong beyond it. Default: no limit. */
  readonly maxPositions?: number;
  /** Called with the masks that each example refuses, for a snapshot, so that the untested variants cannot increase unnoticed. */
  readonly snapshot?: (refused: readonly string[]) => void;
}

/**
 * Registers tests that each example computes the same on each target, alone and under the masks that it supports, and that its gradients
 * are the same if the target's `gradients` is set. Its error against the interpreter may be sixteen times that of float32 rounding in the
 * example (see `roundingErrors`), at least four units in the last place of the largest output: the same on every processor.
 *
 * Example  parity(zoo.blocks, { describe, it, registry: zoo, targets: [{ target: targets.cpu, ort }] });
 */
export function parity(blocks: readonly AnyBlock[], options: ParityOptions): void {
  const { describe, it, registry, snapshot } = options;
  const leftOut: string[] = [];
  for (const block of blocks)
    describe(`${block.kind} ${block.blockName}`, () => {
      block.definition.examples.forEach((_: unknown, index: number) => {
        const example = exampleOf(block, index, registry);
        const trains = options.targets.some(({ gradients }) => gradients);
        const { variants, refused } = triedVariants(example, options.maxPositions);
        leftOut.push(...refused.map((variant) => `${block.kind} ${block.blockName}, example ${index}, ${variant}`));
        for (const variant of [...variants, ...(trains ? [gradientsOf(example)] : [])]) {
          const call = prepared(variant);
          const name = `example ${index}${variant.name ? `, ${variant.name}` : ''}`;
          // One for all targets with float32 rounding, one for each with a lower accuracy.
          const known = new Map<string, Reference>();
          const reference = (model: Model): Reference => {
            const key = isLessAccurate(model.target) ? model.target.name : '';
            const found = known.get(key) ?? referenceOf(call, model);
            known.set(key, found);
            return found;
          };
          for (const on of options.targets)
            if (on.gradients || !variant.gradients) it(`${name} on ${nameOf(on)}`, () => checkParity(call, on, reference));
        }
      });
    });
  if (snapshot) it('skips the variants that examples refuse, and no others', () => snapshot(leftOut));
}

const nameOf = ({ target, name }: ParityTarget): string => (name === undefined ? target.name : `${target.name}, ${name}`);

interface Prepared {
  readonly variant: Variant;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly weights: ReadonlyMap<string, Tensor>;
}

function prepared(variant: Variant): Prepared {
  const { module, inputs, sizes } = variant;
  const arrays = spoiled(inputs, { ...feedsFor(inputs, sizes), ...variant.feeds });
  const { byName } = randomParameters(module);
  const feeds = Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, toTensor(x)]));
  const weights = new Map([...namesOf(module).parameters.keys()].map((name) => [name, toTensor(byName[name]!)]));
  return { variant, feeds, weights };
}

const compileFor = ({ variant: { module, inputs, layout }, weights }: Prepared, target: Target): Model =>
  compile(module, { target, inputs: typesOf(inputs), layout, weights });

// ---- Comparing ------------------------------------------------------------------------------------------------------

const isLessAccurate = ({ kernels }: Target): boolean => Object.values(kernels).some(({ error }) => error !== undefined);

interface Reference {
  readonly exact: Readonly<Record<string, NDArray>>;
  /** The tolerance of each output. */
  readonly budgets: Readonly<Record<string, number>>;
}

function referenceOf(call: Prepared, { traced, names, target }: Model): Reference {
  const { sizes } = call.variant;
  const arrays = Object.fromEntries(Object.entries(call.feeds).map(([name, t]) => [name, toArray(t)]));
  const feeds = { ...arrays, ...drawsOf(traced, sizes), ...derivedOf(traced, arrays, sizes) };
  const values = new Map([...call.weights].map(([name, t]) => [name, toArray(t)]));
  const options = { parameters: (p: Parameter) => values.get(names.nameOf.get(p)!)!, sizes };
  const exact = interpret(traced, feeds, options);
  const budgets = budgetsOf(traced, feeds, options, exact, (op) => target.kernels[op]?.error ?? 0);
  const scale = Math.max(1, ...Object.values(exact).map(largestOf));
  // A target with lower accuracy has a higher tolerance; the error of a wrong mask or scale is still larger.
  const most = isLessAccurate(target) ? 4e-2 : 4e-3;
  for (const [name, budget] of Object.entries(budgets))
    if (budget > most * scale)
      throw new Error(
        `${name}: float32 may be off by ${budget}, with outputs up to ${scale}; choose an example that is better conditioned`,
      );
  return { exact, budgets };
}

async function checkParity(call: Prepared, on: ParityTarget, reference: (model: Model) => Reference): Promise<void> {
  const { target, ort, session } = on;
  const model = compileFor(call, target);
  const { exact, budgets } = reference(model);
  const outputs = await outputsOf(model, call, ort, session);
  for (const [name, y] of Object.entries(exact)) {
    const result = compare(outputs[name]!, { ...y, dtype: outputs[name]!.dtype }, { atol: budgets[name]!, rtol: 0 });
    if (!result.close) throw new Error(`${name} on ${nameOf(on)}: ${printComparison(result)}`);
  }
}

type Session = NonNullable<RunnerOptions['session']>;
const plainly: Session = { graphOptimizationLevel: 'disabled' };

async function outputsOf(
  model: Model,
  { feeds, variant: { sizes } }: Prepared,
  ort: Ort,
  session: Session = plainly,
): Promise<Record<string, Tensor>> {
  const run = await createRunner(model, ort, { session });
  try {
    const draws = Object.entries(drawsOf(model.traced, sizes)).map(([name, x]) => [name, toTensor(x)]);
    return await run({ ...feeds, ...Object.fromEntries(draws) });
  } finally {
    await run.dispose();
  }
}
