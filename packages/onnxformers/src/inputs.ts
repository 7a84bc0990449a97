// The inputs of a block that is compiled by itself, from its config.
import {
  type AnyModule,
  blockInputs,
  type CompileOptions,
  ConfigError,
  checkArguments,
  describe,
  kindOf,
  unsetSizes,
} from '@onnxformers/core';

/**
 * The option `inputs` of `compile` for a block: `ids` int64 for a model with an embedding, `x` float32 for others, `memory` if there is cross attention. Sizes
 * that the config does not determine are named `batch`, `seq`, `memory_seq`.
 *
 * Throws   ConfigError for a block whose config does not determine its sizes: attention, and modules made by hand
 *
 * Example  const model = compile(block, { target: targets.cpu, inputs: inputsOf(block) });
 */
export function inputsOf(module: AnyModule): CompileOptions['inputs'] {
  checkArguments('inputsOf', { module });
  const inputs = Object.entries(blockInputs(module));
  const anySize: readonly string[] = kindOf(module)?.anySize ?? [];
  const unset = unsetSizes.filter((size) => !anySize.includes(size) && inputs.some(([, { dims }]) => dims.includes(size)));
  if (unset.length)
    throw new ConfigError({
      path: 'inputs',
      problem: `the config does not determine the sizes of the inputs: ${unset.join(', ')}`,
      expected: "inputs such as { x: ['float32', ['batch', 'seq', 64]] }",
      got: describe(module),
      hint: `Its inputs: ${inputs.map(([name, { dtype, dims }]) => `${name} ${dtype} [${dims.join(', ')}]`).join(', ')}`,
    });
  return Object.fromEntries(inputs.map(([name, { dtype, dims }]) => [name, [dtype, dims]]));
}
