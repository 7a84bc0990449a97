// The inputs a block reads when it is compiled by itself, from what its config says.
import { type AnyModule, blockInputs, type CompileOptions, ConfigError, describe, kindOf, openSizes } from '@onnxformers/core';

/**
 * What to give `compile` as `inputs`: `ids` int64 for a model with an embedding, `x` float32 for others, `memory` where something attends to one. Sizes
 * that a config leaves open are named `batch`, `seq`, `memory_seq`.
 *
 * Throws   ConfigError for a block whose config does not tell its sizes: attention, and modules made by hand
 *
 * Example  const model = compile(block, { target: targets.cpu, inputs: inputsOf(block) });
 */
export function inputsOf(module: AnyModule): CompileOptions['inputs'] {
  const inputs = Object.entries(blockInputs(module));
  const anySize: readonly string[] = kindOf(module)?.anySize ?? [];
  const open = openSizes.filter((size) => !anySize.includes(size) && inputs.some(([, { dims }]) => dims.includes(size)));
  if (open.length)
    throw new ConfigError({
      path: 'inputs',
      problem: `the config does not tell the sizes of the inputs: ${open.join(', ')}`,
      expected: "inputs such as { x: ['float32', ['batch', 'seq', 64]] }",
      got: describe(module),
      hint: `Its inputs: ${inputs.map(([name, { dtype, dims }]) => `${name} ${dtype} [${dims.join(', ')}]`).join(', ')}`,
    });
  return Object.fromEntries(inputs.map(([name, { dtype, dims }]) => [name, [dtype, dims]]));
}
