// The same numbers on every target: examples of blocks, lowered and as plain ONNX, in a runtime with its own optimisations off.
import type { AnyBlock } from '../block/block-definition';
import type { Registry } from '../block/registry';
import { compile, type Model } from '../compile/compile';
import { interpret } from '../interpret/interpret';
import type { Target } from '../lower/target';
import { namesOf } from '../module/module';
import type { Ort } from '../runtime/ort';
import { createRunner, type RunnerOptions } from '../runtime/runner';
import { portable } from '../targets/portable';
import { toArray, toTensor } from '../tensor/convert';
import type { NDArray, Tensor } from '../tensor/tensor';
import { compare, printComparison } from './close';
import { derivedOf, drawsOf, exampleOf, feedsFor, type InputsOf } from './example';
import { randomParameters } from './run-block';
import { gradientsOf, typesOf, type Variant, variantsOf } from './variants';

/** A target, and the runtime that runs its models. */
export interface ParityTarget {
  readonly target: Target;
  readonly ort: Ort;
  /** Distinguishes it from others of the same target: `optimised`. */
  readonly name?: string;
  /** Of the runtime's session. Default: its own rewriting of graphs is off. */
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
  /** Finds the blocks that stand in the slots of examples. */
  readonly registry: Pick<Registry, 'find' | 'parse' | 'toJSON'>;
  readonly targets: readonly ParityTarget[];
  /** Inputs for blocks that need others than their kind suggests. */
  readonly inputs?: InputsOf;
  /** How many rows a sequence has at most, and all packed ones together: where a runtime is wrong beyond. Default: as the tests like. */
  readonly mostRows?: number;
}

/**
 * Registers tests that each example computes the same on each target, alone and under the masks that it takes, and that its gradients
 * are the same where a target asks for them. Its error against the interpreter may be four times that of plain ONNX of opset 21 in the
 * same runtime, and four units in the last place of the largest output (sixteen for gradients).
 *
 * Example  parity(zoo.blocks, { describe, it, registry: zoo, targets: [{ target: targets.cpu, ort }] });
 */
export function parity(blocks: readonly AnyBlock[], options: ParityOptions): void {
  const { describe, it, registry } = options;
  for (const block of blocks)
    describe(`${block.kind} ${block.blockName}`, () => {
      block.definition.examples.forEach((_: unknown, index: number) => {
        const example = exampleOf(block, index, registry, options.inputs);
        const trains = options.targets.some(({ gradients }) => gradients);
        for (const variant of [...variantsOf(example, options.mostRows), ...(trains ? [gradientsOf(example)] : [])]) {
          const call = prepared(variant);
          const name = `example ${index}${variant.name ? `, ${variant.name}` : ''}`;
          const references = new Map<string, Promise<Reference>>();
          const reference = (on: ParityTarget): Promise<Reference> => {
            const device = on.target.providers[0] ?? 'cpu';
            if (!references.has(device)) references.set(device, referenceOf(call, on.ort, device));
            return references.get(device)!;
          };
          for (const on of options.targets)
            if (on.gradients || !variant.gradients)
              it(`${name} on ${nameOf(on)}`, async () => checkParity(call, on, await reference(on)));
        }
      });
    });
}

const nameOf = ({ target, name }: ParityTarget): string => (name === undefined ? target.name : `${target.name}, ${name}`);

interface Prepared {
  readonly variant: Variant;
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly weights: ReadonlyMap<string, Tensor>;
}

function prepared(variant: Variant): Prepared {
  const { module, inputs, sizes } = variant;
  const arrays = { ...feedsFor(inputs, sizes), ...variant.feeds };
  const { byName } = randomParameters(module);
  const feeds = Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, toTensor(x)]));
  const weights = new Map([...namesOf(module).parameters.keys()].map((name) => [name, toTensor(byName[name]!)]));
  return { variant, feeds, weights };
}

const compileFor = ({ variant: { module, inputs, layout }, weights }: Prepared, target: Target): Model =>
  compile(module, { target, inputs: typesOf(inputs), layout, weights });

// ---- Comparing ------------------------------------------------------------------------------------------------------

interface Reference {
  readonly exact: Readonly<Record<string, NDArray>>;
  /** Largest error of plain ONNX, by output. */
  readonly errors: Readonly<Record<string, number>>;
}

async function referenceOf(call: Prepared, ort: Ort, device: string): Promise<Reference> {
  const model = compileFor(call, portable());
  const { sizes } = call.variant;
  const arrays = Object.fromEntries(Object.entries(call.feeds).map(([name, t]) => [name, toArray(t)]));
  const exact = interpret(
    model.traced,
    { ...arrays, ...drawsOf(model.traced, sizes), ...derivedOf(model.traced, arrays, sizes) },
    { parameters: (p) => toArray(call.weights.get(model.names.nameOf.get(p)!)!), sizes },
  );
  const plain = await outputsOf(model, call, ort, { device });
  const errors = Object.fromEntries(Object.entries(exact).map(([name, y]) => [name, errorOf(name, plain[name]!, y)]));
  for (const [name, y] of Object.entries(exact))
    if (device === 'cpu' && errors[name]! > 1e-3 * Math.max(1, largest(y)))
      throw new Error(`${name}: plain ONNX differs by ${errors[name]} from the interpreter, with outputs up to ${largest(y)}`);
  return { exact, errors };
}

async function checkParity(call: Prepared, on: ParityTarget, { exact, errors }: Reference): Promise<void> {
  const { target, ort, session } = on;
  const model = compileFor(call, target);
  const outputs = await outputsOf(model, call, ort, session && { session });
  // A gradient is a sum over all rows of what came forward and went back.
  const places = call.variant.gradients ? 16 : 4;
  for (const [name, y] of Object.entries(exact)) {
    const atol = Math.max(4 * errors[name]!, places * lastPlace(largest(y)));
    const result = compare(outputs[name]!, { ...y, dtype: outputs[name]!.dtype }, { atol, rtol: 0 });
    if (!result.close)
      throw new Error(`${name} on ${nameOf(on)}: ${printComparison(result)}; plain ONNX is off by ${errors[name]}`);
  }
}

async function outputsOf(
  model: Model,
  { feeds, variant: { sizes } }: Prepared,
  ort: Ort,
  options: RunnerOptions = {},
): Promise<Record<string, Tensor>> {
  const run = await createRunner(model, ort, { session: { graphOptimizationLevel: 'disabled' }, ...options });
  try {
    const draws = Object.entries(drawsOf(model.traced, sizes)).map(([name, x]) => [name, toTensor(x)]);
    return await run({ ...feeds, ...Object.fromEntries(draws) });
  } finally {
    await run.dispose();
  }
}

function errorOf(name: string, got: Tensor, exact: NDArray): number {
  const result = compare(got, { ...exact, dtype: got.dtype }, { atol: 1, rtol: 1 });
  if (result.problem) throw new Error(`${name}: ${result.problem}`);
  const { data } = toArray(got);
  return exact.data.reduce((worst, y, i) => Math.max(worst, Math.abs(y - data[i]!)), 0);
}

const largest = ({ data }: NDArray): number => data.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
/** A unit in the last place of a float32 of this size. */
const lastPlace = (x: number): number => 2 ** (Math.floor(Math.log2(Math.max(x, 2 ** -126))) - 23);
