// A block compiled by itself: named inputs for what its kind takes, `y` for what it gives.

import { ConfigError, describe } from '../error';
import { Value } from '../ir/graph';
import { expand } from '../ops/movement';
import type { SequenceContext } from '../sequence/context';
import type { Rows } from '../sequence/rows';
import { type AnyModule, module } from './module';

type Inputs = Readonly<Record<string, Value>>;
type Call = (
  m: AnyModule['forward'],
  input: (...names: readonly string[]) => Value,
  ctx: SequenceContext,
) => Record<string, Value>;

const rowsIn = (given: Value | Rows): Value => (given instanceof Value ? given : given.rows);
const overX: Call = (f, input, ctx) => ({ y: f(input('x'), ctx) as Value });
const calls: Readonly<Record<string, Call>> = {
  attention: (f, input, ctx) => ({ y: f(input('q'), input('k'), input('v'), ctx) as Value }),
  mixer: overX,
  feedforward: overX,
  activation: overX,
  norm: overX,
  position: (f, input, ctx) => ({ y: rowsIn(f(input('x'), ctx) as Value | Rows) }),
  layer: overX,
  stack: overX,
  embedding: (f, input, ctx) => ({ y: rowsIn(f(input('ids', 'pixels', 'features'), ctx) as Value | Rows) }),
  rotaryEmbedding: (f, input, ctx) => {
    const [q, k] = f(input('q'), input('k'), ctx) as readonly [Value, Value];
    return { q_rotated: q, k_rotated: k };
  },
  // One that is the same for all sequences, for each of them.
  attentionBias: (f, input, ctx) => {
    const bias = f(input('q'), input('k'), ctx) as Value;
    return { y: expand(bias, [input('q').dims[0]!, ...bias.dims.slice(1)]) };
  },
};

/**
 * A model around any module: itself for a model or a module made by hand with the contract of one; for a block of another kind, inputs
 * q, k, v (attention, rotation, attentionBias), ids, pixels or features (embedding) or x, and the output y (rotaryEmbedding: q_rotated, k_rotated). Parameter names stay.
 */
export function standalone(m: AnyModule): AnyModule {
  if (m.kind === undefined || m.kind === 'model') return m;
  const call = calls[m.kind];
  if (!call)
    throw new ConfigError({
      path: 'compile',
      problem: `a ${m.kind} cannot be compiled by itself`,
      got: describe(m),
      hint: 'Wrap it: module({ block }, (inputs, ctx) => ({ y: block(inputs.x, ctx) }))',
    });
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
    return call(m.forward, input, ctx);
  };
  const { kind: _, ...about } = m.about;
  return module(m.children, forward, about);
}
