// Two models that embed their inputs with the same weights.
import { type AnyModule, ConfigError, type KindModule, module, namesOf, type Parameter, reparametrize } from '@onnxformers/core';

/** The parts whose weights can be shared. */
export type SharedPart = 'embedding' | 'position';

/**
 * A model with its embedding, or embedding and positions, replaced by those of another model. Their weights are shared and have both names.
 *
 * Throws   ConfigError if the weights of the two differ in names or dims, or if there are none
 */
export function withInputOf(
  other: KindModule<'model'>,
  own: KindModule<'model'>,
  shared: readonly SharedPart[],
  path: string,
): KindModule<'model'> {
  const theirs = inputOf(other, shared);
  const ours = inputOf(own, shared);
  const names = new Map([...namesOf(ours).parameters].map(([name, p]) => [p, name]));
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
      got: listed(namesOf(ours).parameters),
    });
  const tied = reparametrize(own, (_, p) => {
    const name = names.get(p);
    const instead = name === undefined ? undefined : weights.get(name)!;
    return instead && { parameters: {}, replaces: true, value: (_, g) => g.param(instead) };
  });
  // Its forward function calls its own modules, with the weights of the others.
  const calls = ours.children as Readonly<Record<string, AnyModule>>;
  return module({ ...tied.children, ...theirs.children }, tied.forward, {
    ...tied.about,
    calls,
  }) as unknown as KindModule<'model'>;
}

const inputOf = ({ children }: AnyModule, shared: readonly SharedPart[]): AnyModule =>
  module(Object.fromEntries(shared.flatMap((name) => (children[name] ? [[name, children[name]]] : []))), () => undefined);

type Named = Iterable<readonly [string, Parameter]>;

function alike(some: Named, others: ReadonlyMap<string, Parameter>): boolean {
  const list = [...some];
  return list.length === others.size && list.every(([name, { dims }]) => `${others.get(name)?.dims}` === `${dims}`);
}

const listed = (parameters: Named): string =>
  [...parameters].map(([name, { dims }]) => `${name} [${dims.join(', ')}]`).join(', ') || 'none';
