// Two models that embed their inputs with the same weights.
import { type AnyModule, ConfigError, type KindModule, module, namesOf, type Parameter, reparametrize } from '@onnxformers/core';

const shared = ['embedding', 'position'] as const;

/**
 * A model with its embedding and positions replaced by those of another model. Their weights are shared and have both names.
 *
 * Throws   ConfigError if the weights of the two differ in names or dims, or if there are none
 */
export function withInputOf(other: KindModule<'model'>, own: KindModule<'model'>, path: string): KindModule<'model'> {
  const theirs = inputOf(other);
  const names = new Map([...namesOf(inputOf(own)).parameters].map(([name, p]) => [p, name]));
  const weights = namesOf(theirs).parameters;
  if (
    !weights.size ||
    !alike(
      [...names].map(([p, name]) => [name, p] as const),
      weights,
    )
  )
    throw new ConfigError({
      path: `${path}.tiedEmbeddings`,
      problem: 'encoder and decoder cannot have tied embeddings',
      expected: `an encoder with ${listed(weights)}, as the decoder`,
      got: listed(namesOf(inputOf(own)).parameters),
    });
  const tied = reparametrize(own, (_, p) => {
    const name = names.get(p);
    const instead = name === undefined ? undefined : weights.get(name)!;
    return instead && { parameters: {}, replaces: true, value: (_, g) => g.param(instead) };
  });
  return module({ ...tied.children, ...theirs.children }, tied.forward, tied.about) as unknown as KindModule<'model'>;
}

const inputOf = ({ children }: AnyModule): AnyModule =>
  module(Object.fromEntries(shared.map((name) => [name, children[name]])), () => undefined);

type Named = Iterable<readonly [string, Parameter]>;

function alike(some: Named, others: ReadonlyMap<string, Parameter>): boolean {
  const list = [...some];
  return list.length === others.size && list.every(([name, { dims }]) => `${others.get(name)?.dims}` === `${dims}`);
}

const listed = (parameters: Named): string =>
  [...parameters].map(([name, { dims }]) => `${name} [${dims.join(', ')}]`).join(', ') || 'none';
