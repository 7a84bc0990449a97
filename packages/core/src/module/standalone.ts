// A block compiled by itself: named inputs for the arguments of its kind, named outputs for its results.
import { checkArguments } from '../arguments';
import { ConfigError, describe } from '../error';
import type { Value } from '../ir/graph';
import type { SequenceContext } from '../sequence/context';
import { kindOf } from './kinds';
import { type AnyModule, module } from './module';

type Inputs = Readonly<Record<string, Value>>;

/**
 * A model that calls any module. A model, or a module by hand with the contract of one, is returned as it is. For a block of another kind the
 * inputs and outputs are those in `kinds`: inputs q, k, v (attention, rotaryEmbedding, attentionBias), ids, pixels or features (embedding) or x, and the
 * output y (rotaryEmbedding: q_rotated, k_rotated). Parameter names do not change.
 *
 * Throws   ConfigError for a kind without a definition
 */
export function standalone(m: AnyModule): AnyModule {
  checkArguments('standalone', { module: m });
  if (m.kind === undefined) return m;
  const kind = kindOf(m);
  if (!kind)
    throw new ConfigError({
      path: 'compile',
      problem: `a ${m.kind} cannot be compiled by itself, because its kind has no definition`,
      got: describe(m),
      hint: 'Add a kindDefinition to its block, or wrap it: module({ block }, (inputs, ctx) => ({ y: block(inputs.x, ctx) }))',
    });
  const { alone } = kind;
  if (!alone) return m;
  const forward = (inputs: Inputs, ctx: SequenceContext) => {
    const input = (...names: readonly string[]): Value => {
      const v = names.map((name) => inputs[name]).find((given) => given !== undefined);
      if (!v)
        throw new ConfigError({
          path: 'inputs',
          problem: `a ${m.kind} takes an input ${names.map((name) => `"${name}"`).join(' or ')}`,
          got: Object.keys(inputs).join(', '),
        });
      return v;
    };
    const results = alone.call(m.forward, input, ctx);
    return Object.fromEntries(alone.outputs.map((name, i) => [name, results[i]!]));
  };
  const { kind: _, ...about } = m.about;
  return module(m.children, forward, about);
}
