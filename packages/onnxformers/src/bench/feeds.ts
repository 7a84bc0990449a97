// Data for the inputs of a model.
import {
  type AnyModule,
  blockInputs,
  ConfigError,
  evaluateDim,
  isFloat,
  type Model,
  namesOfDim,
  type Tensor,
  tensor,
} from '@onnxformers/core';

/**
 * Feeds for a model at some sizes: waves for floats, ids below those that the block accepts, and these lengths for each input of lengths.
 *
 * @throws ConfigError for a size of an input that is not given
 */
export function feedsOf(
  { signature, module }: Pick<Model, 'signature'> & { readonly module: AnyModule },
  sizes: Readonly<Record<string, number>>,
  lengths: readonly number[],
): Readonly<Record<string, Tensor>> {
  const known = blockInputs(module);
  return Object.fromEntries(
    signature.inputs
      .filter((port) => !port.derived && !port.parameter)
      .map(({ name, dtype, dims, role }) => {
        const missing = dims.flatMap(namesOfDim).find((size) => sizes[size] === undefined);
        if (missing !== undefined)
          throw new ConfigError({
            path: `inputs.${name}`,
            problem: `the size "${missing}" is not known`,
            expected: `one of ${Object.keys(sizes).join(', ')}`,
            got: `[${dims.join(', ')}]`,
            hint: `Give it: --size ${missing}=N`,
          });
        const shape = dims.map((d) => evaluateDim(d, sizes));
        const { below = 2 } = known[name] ?? {};
        const count = shape.reduce((a, b) => a * b, 1);
        const element = (i: number): number => (isFloat(dtype) ? Math.sin(0.731 * i) : (7 * i + (i % 13) * i) % below);
        const isLengths = role === 'lengths' || role === 'memoryLengths';
        return [name, tensor(dtype, shape, isLengths ? lengths : Array.from({ length: count }, (_, i) => element(i)))];
      }),
  );
}
