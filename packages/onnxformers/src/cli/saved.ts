// Compiles a saved model again, because decisions and costs require a model in memory.
import {
  type AnyModule,
  type CompileOptions,
  ConfigError,
  compile,
  type Machine,
  type Model,
  type ModelDType,
  modulesOf,
  type Port,
  type Target,
} from '@onnxformers/core';
import type { SavedModel } from '@onnxformers/core/node';
import { zoo } from '../index';
import { targetOf } from './compile-options';

/** Options that differ from the saved ones. */
export interface Elsewhere {
  readonly target?: Target;
  readonly machine?: Machine;
  readonly dtype?: ModelDType;
}

/**
 * The model that was saved, without its weights.
 *
 * Throws   ConfigError if it was not made from a config, or its config has blocks that the library does not have
 */
export function modelOf(saved: SavedModel, elsewhere: Elsewhere = {}): Model {
  const { config, machine, dtype, assumptions, signature } = saved;
  if (!config)
    throw new ConfigError({
      path: 'onnxformers.json',
      problem: 'this model was not compiled from a config',
      hint: 'Compile it in your own program and call explain(model)',
    });
  const owner =
    zoo.blocks.find((b) => b.kind === 'model' && b.blockName === config.name) ??
    zoo.blocks.find((b) => b.blockName === config.name);
  const module = zoo.parse(owner?.kind ?? 'model', config) as unknown as AnyModule;
  const options: CompileOptions = {
    target: targetOf(saved.target),
    machine,
    dtype: dtype as ModelDType,
    assumptions,
    ...optionsFrom(module, signature.inputs, signature.outputs),
  };
  return compile(module, { ...options, ...elsewhere });
}

// The tap of an attention's weights is named after its module.
const isWeights = (output: string, paths: ReadonlySet<string>): boolean => {
  const [, module] = /^(.+)\.weights$/.exec(output) ?? [];
  return module !== undefined && paths.has(module);
};

/** The options that follow from a signature. */
function optionsFrom(
  module: AnyModule,
  inputs: readonly Port[],
  outputs: readonly Port[],
): Pick<CompileOptions, 'inputs' | 'layout' | 'state' | 'taps' | 'training' | 'draws' | 'parameters'> {
  const isPast = (p: Port) => p.name.startsWith('past_key_values.');
  const own = inputs.filter((p) => !p.derived && !p.draw && !p.parameter && !isPast(p));
  const past = inputs.find(isPast);
  const derived = (how: string) => inputs.find((p) => p.derived?.how === how)?.derived;
  const pool = inputs.find((p) => p.derived?.pool)?.derived?.pool;
  const parameters = new Set(inputs.filter((p) => p.parameter).map((p) => p.name));
  const paths = new Set(modulesOf(module).map(({ path }) => path));
  const taps = outputs.map((p) => p.name).filter((name) => paths.has(name) || isWeights(name, paths));
  const capacity = past?.dims[2];
  return {
    inputs: Object.fromEntries(own.map((p) => [p.name, [p.dtype, p.dims] as const])),
    ...(derived('offsets') && { layout: 'packed' as const }),
    ...(pool
      ? { state: { paged: pool } }
      : past && {
          state:
            typeof capacity === 'number' && derived('past_lengths') && !derived('past_lengths')!.plus
              ? { io: capacity }
              : ('io' as const),
        }),
    ...(taps.length && { taps }),
    ...(parameters.size && { parameters: (path: string) => (parameters.has(path) ? ('input' as const) : ('stored' as const)) }),
    ...((derived('run') || inputs.some((p) => p.draw)) && { training: true }),
    // The graph does not depend on the value of the seed.
    ...(derived('run') && { draws: { seed: 0 } }),
  };
}
