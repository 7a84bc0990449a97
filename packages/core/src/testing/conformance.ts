// Tests that every block must pass, on its examples. They need no test framework: `describe` and `it` are parameters.
import { isBlock } from '../block/block';
import type { AnyBlock } from '../block/block-definition';
import { type Registry, registry as registryOf } from '../block/registry';
import type { Field } from '../config/fields';
import { ConfigError } from '../error';
import { namesOf } from '../module/module';
import type { NDArray } from '../tensor/tensor';
import { expectClose } from './close';
import { checkExampleGradients } from './conformance-gradient';
import { checkMaskKinds } from './conformance-masks';
import { checkPadding } from './conformance-padding';
import { checkProperty } from './conformance-properties';
import { computeExample, type Example, exampleOf, feedsFor, sizesOf, traceExample } from './example';

/** What {@link conformance} is run with. */
export interface ConformanceOptions {
  /** Of your test framework. */
  readonly describe: (name: string, f: () => void) => void;
  /** Of your test framework. */
  readonly it: (name: string, f: () => void | Promise<void>) => void;
  /** Finds the blocks in the slots of examples; default: the blocks under test. */
  readonly registry?: Pick<Registry, 'find' | 'parse' | 'toJSON'>;
  /** Records the names of parameters, so that a change is noticed: `(value) => expect(value).toMatchSnapshot()`. */
  readonly snapshot?: (value: readonly string[]) => void;
}

/**
 * Registers the tests that every block must pass: it has documentation; each of its examples is the same after a round trip through JSON, is
 * frozen and refuses unknown options; its parameters have unique names; it computes the same at symbolic and at known sizes; the masks that it
 * declares hide positions; results do not depend on padding; the properties that it declares are true; its gradients agree with finite differences in float64.
 *
 * Example  conformance([myAttention], { describe, it, registry: zoo.with(myAttention) });
 */
export function conformance(blocks: readonly AnyBlock[], options: ConformanceOptions): void {
  const { describe, it, snapshot } = options;
  const registry = options.registry ?? registryOf(...blocks);
  for (const block of blocks)
    describe(`${block.kind} ${block.blockName}`, () => {
      it('is documented', () => checkDocs(block));
      it('refuses an option that it does not have', () => checkUnknownOption(block, registry));
      block.definition.examples.forEach((given: unknown, index: number) => {
        const example = () => exampleOf(block, index, registry);
        describe(`example ${index}: ${shown(given)}`, () => {
          it('is frozen, and equal after a round trip through JSON', () => checkRoundTrip(example(), registry));
          it('has unique names for its parameters', () => {
            const names = parameterNames(example());
            snapshot?.(names);
          });
          it('computes the same at symbolic and at known sizes', () => checkSizes(example()));
          it('has the right gradients', () => checkExampleGradients(example()));
          it('hides what its masks hide', () => checkMaskKinds(example()));
          it('does not depend on padding', () => checkPadding(example()));
          it('has the properties that it declares', () => {
            const e = example();
            for (const property of e.properties) checkProperty(e, property);
          });
        });
      });
    });
}

const shown = (config: unknown): string =>
  JSON.stringify(config, (_, x) => (typeof x === 'function' ? 'a function' : x)).slice(0, 100);

function fail(block: AnyBlock, problem: string): never {
  throw new Error(`${block.kind} ${block.blockName}: ${problem}`);
}

// ---- Documentation --------------------------------------------------------------------------------------------------

function checkDocs(block: AnyBlock): void {
  if (!isBlock(block)) throw new Error('not a block');
  const { summary, source, examples } = block.definition;
  if (!/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(block.blockName)) fail(block, 'its name is not in snake_case');
  if (!/^\S.*\.$/.test(summary)) fail(block, `its summary is not a sentence: "${summary}"`);
  if (source !== undefined && !/\b(18|19|20)\d\d\b/.test(source)) fail(block, `its source has no year: "${source}"`);
  if (examples.length === 0) fail(block, 'it has no examples');
  for (const [name, field] of Object.entries(block.fields) as [string, Field][]) {
    if (!/^[a-z][a-zA-Z0-9]*$/.test(name)) fail(block, `the option ${name} is not in camelCase`);
    if (!field.doc?.trim()) fail(block, `the option ${name} has no doc`);
  }
}

// ---- Configs --------------------------------------------------------------------------------------------------------

function checkUnknownOption(block: AnyBlock, { parse }: Pick<Registry, 'parse'>): void {
  const given = { name: block.blockName, ...block.definition.examples[0] };
  const [longest = ''] = Object.keys(block.fields).sort((a, b) => b.length - a.length);
  const typo = longest.length > 2 ? `${longest}x` : 'nonsense';
  const error = thrownBy(() => parse(block.kind, { ...given, [typo]: 1 }));
  if (!(error instanceof ConfigError)) fail(block, `the unknown option ${typo} was taken`);
  const wanted = longest.length > 2 ? `Did you mean "${longest}"?` : `unknown field "${typo}"`;
  if (!error.message.includes(wanted)) fail(block, `the refusal of ${typo} does not say ${wanted}: ${error.message}`);
}

function thrownBy(f: () => unknown): unknown {
  try {
    f();
    return undefined;
  } catch (error) {
    return error;
  }
}

function checkRoundTrip({ block, given, module }: Example, registry: Pick<Registry, 'parse' | 'toJSON'>): void {
  const before = shown(given);
  registry.parse(block.kind, deepFrozen(given));
  if (shown(given) !== before) fail(block, 'it writes into the config that it is given');
  if (!Object.isFrozen(module.about.config)) fail(block, 'its config is not frozen');
  if (holdsFunction(given)) {
    if (!(thrownBy(() => registry.toJSON(module)) instanceof ConfigError)) fail(block, 'a config with a function became JSON');
    return;
  }
  const json = registry.toJSON(module);
  const again = registry.parse(block.kind, json);
  const [first, second] = [JSON.stringify(json), JSON.stringify(registry.toJSON(again))];
  if (first !== second) fail(block, `the round trip changes its config from ${first} to ${second}`);
  const [names, namesAgain] = [parameterNames({ block, module }), parameterNames({ block, module: again as never })];
  if (`${names}` !== `${namesAgain}`) fail(block, `the round trip changes its parameters from ${names} to ${namesAgain}`);
}

const holdsFunction = (x: unknown): boolean =>
  typeof x === 'function' || (typeof x === 'object' && x !== null && Object.values(x).some(holdsFunction));

function deepFrozen<T>(x: T): T {
  if (typeof x === 'object' && x !== null) {
    for (const part of Object.values(x)) deepFrozen(part);
    Object.freeze(x);
  }
  return x;
}

// ---- Parameters -----------------------------------------------------------------------------------------------------

function parameterNames({ block, module }: Pick<Example, 'block' | 'module'>): readonly string[] {
  const { parameters, aliases } = namesOf(module);
  for (const name of [...parameters.keys(), ...aliases.keys()])
    if (!/^\w+(\.\w+)*$/.test(name)) fail(block, `a parameter has an odd name: "${name}"`);
  const lines = [...parameters].map(([name, p]) => `${name} [${p.dims.join(', ')}]`);
  return [...lines, ...[...aliases].map(([alias, name]) => `${alias} = ${name}`)];
}

// ---- Sizes ----------------------------------------------------------------------------------------------------------

// Constants made of known sizes are float32 numbers, those computed in a run are not.
const rounding = { atol: 1e-5, rtol: 1e-5 };

function checkSizes(e: Example): void {
  const symbolic = traceExample(e.module, e.inputs);
  for (const seq of [11, 3]) {
    const sizes = sizesOf(e, seq);
    const feeds = feedsFor(e.inputs, sizes);
    const known = traceExample(e.module, e.inputs, {}, sizes);
    const [got, expected] = [symbolic, known].map((graph) => computeExample(e.module, graph, feeds, sizes)) as [
      Record<string, NDArray>,
      Record<string, NDArray>,
    ];
    for (const [name, y] of Object.entries(expected))
      expectClose(got[name]!, y, rounding, `${name} at the sizes ${JSON.stringify(sizes)}, traced symbolically and as numbers,`);
  }
}
