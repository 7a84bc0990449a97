// What a node becomes depends on the node, the target and the options: not on what else stands in the model, and not on any order.
import {
  and,
  causal,
  compile,
  type Graph,
  linear,
  type Model,
  module,
  padded,
  type SequenceContext,
  slidingWindow,
  splitHeads,
  type Target,
  targets,
  type Value,
  withContext,
} from '@onnxformers/core';
import { nameOf, printType } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { attendOp } from '@onnxformers/core/ops';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attentionRules,
  gelu,
  geluTanh,
  layerNorm,
  linformer,
  local,
  mlp,
  multiHead,
  nystrom,
  quickGelu,
  rmsNorm,
  scaledDotProduct,
} from './index';

const [dim, heads] = [48, 3];
type Part = { readonly module: Parameters<typeof compile>[0]; readonly dims?: readonly number[] };
type Forward = (x: Value, ctx: SequenceContext) => Value;
type Attention = (q: Value, k: Value, v: Value, ctx: SequenceContext) => Value;

const window = slidingWindow({ left: 3, right: 3 });
const over = (attention: Attention & Part['module'], mask = and(window)): Part => {
  const [q, k, v] = [linear(dim, dim), linear(dim, dim), linear(dim, dim)];
  const forward: Forward = (x, ctx) => {
    const [qs, ks, vs] = [q, k, v].map((map) => splitHeads(map(x), heads, padded)) as [Value, Value, Value];
    return attention(qs, ks, vs, withContext(ctx, { mask: and(ctx.mask, mask) }));
  };
  return { module: module({ q, k, v, attention }, forward) };
};
const normed = (norm: ((x: Value) => Value) & Part['module']): Part => {
  const map = linear(dim, dim);
  return { module: module({ map, norm }, (x: Value) => norm(ops.add(x, map(x)))) };
};

// Several of each kind that a rule looks at: by a block that brings rules, by one that brings others, and by hand, without any.
const makers: Readonly<Record<string, () => Part>> = {
  windowed: () => over(scaledDotProduct({})),
  local: () => over(local({ window: 7 })),
  localCausal: () => over(local({ window: 4, causal: true })),
  causal: () => over(scaledDotProduct({}), causal),
  nystrom: () => over(nystrom({ landmarks: 5 }), and()),
  linformer: () => over(linformer({ seqLen: 11, k: 5 } as never), and()),
  byHand: () => over(module({}, (q: Value, k: Value, v: Value) => attendOp(q, k, v, { mask: window })) as never),
  mixer: () => ({ module: multiHead({ dim, heads, attention: scaledDotProduct({}) }) }),
  gelu: () => ({ module: mlp({ dim, hidden: 2 * dim, activation: gelu({}) } as never) }),
  geluTanh: () => ({ module: mlp({ dim, hidden: 2 * dim, activation: geluTanh({}) } as never) }),
  quickGelu: () => ({ module: mlp({ dim, hidden: 2 * dim, activation: quickGelu({}) } as never) }),
  geluByHand: () => {
    const map = linear(dim, dim);
    return { module: module({ map }, (x: Value) => ops.gelu(map(x))) };
  },
  layerNorm: () => normed(layerNorm({ dim })),
  rmsNorm: () => normed(rmsNorm({ dim })),
  normByHand: () =>
    normed(
      module({}, (x: Value) =>
        ops.rmsNorm(
          x,
          x.graph.root.number(
            Array.from({ length: dim }, () => 1),
            x.dtype,
          ),
        ),
      ) as never,
    ),
};
const names = Object.keys(makers);

/** A model of these parts, each on an input and with sizes of its own, called in this order. */
function modelOf(called: readonly string[], record: readonly string[], target: Target, dtype: 'float32' | 'float16'): Model {
  const parts = Object.fromEntries(record.map((name) => [name, makers[name]!().module]));
  const whole = module(parts, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    // If a part has no rows, the results of the others are computed all the same; alone, it is not run.
    for (const name of called)
      for (const size of [`batch_${name}`, `seq_${name}`])
        inputs[`x_${name}`]!.graph.root.limit({ size, min: 1, problem: 'nothing to compute' });
    return Object.fromEntries(called.map((name) => [`y_${name}`, parts[name]!(inputs[`x_${name}`]!, ctx) as Value]));
  });
  const rows = (name: string) => [`x_${name}`, [dtype, [`batch_${name}`, `seq_${name}`, dim]]] as const;
  return compile(whole, { target, dtype, inputs: Object.fromEntries(called.map(rows)) });
}

/** The nodes behind an output, numbered among themselves. */
function behind({ outputs }: Graph, name: string): readonly string[] {
  const lines: string[] = [];
  const numbers = new Map<Value, string>();
  const number = (v: Value): string => {
    const known = numbers.get(v);
    if (known) return known;
    const { leaf, producer } = v;
    if (!producer) {
      const of = leaf?.kind === 'constant' ? JSON.stringify([...(leaf.tensor.data as Float32Array)].map(String)) : nameOf(v);
      numbers.set(v, `${leaf?.kind} ${of ?? ''} ${printType(v)}`);
    } else {
      const operands = producer.operands.map((o) => (o ? number(o) : '-'));
      const attrs = JSON.stringify(producer.attrs, (_, a) => (typeof a === 'object' && a && 'builder' in a ? 'graph' : a));
      const first = lines.push(
        `${producer.op.key}(${operands}) ${attrs} ${producer.outputs.map(printType)} at ${producer.scope}`,
      );
      producer.outputs.forEach((o, i) => {
        numbers.set(o, `%${first}.${i}`);
      });
    }
    return numbers.get(v)!;
  };
  number(outputs.find((o) => o.name === name)!.value);
  return lines;
}

const told = (model: Model, name: string) => ({
  decisions: model.decisions.filter(({ path }) => path === name || path.startsWith(`${name}.`)),
  graph: behind(model.graph, `y_${name}`),
});

describe.each([
  [targets.cpu, 'float32'],
  [targets.wasm, 'float32'],
  [targets.webgpu, 'float16'],
  [targets.cuda, 'float16'],
  [targets.portable(18), 'float32'],
] as const)('$name', (target, dtype) => {
  const alone = new Map<string, ReturnType<typeof told>>();
  const of = (name: string) => {
    if (!alone.has(name)) alone.set(name, told(modelOf([name], [name], target, dtype), name));
    return alone.get(name)!;
  };

  it('every part is lowered as it is alone, whatever other parts there are, used or not, in any order', () => {
    const some = fc.uniqueArray(fc.constantFrom(...names), { minLength: 2, maxLength: 5 });
    const whole = some.chain((record) =>
      fc.tuple(
        fc.constant(record),
        fc.shuffledSubarray(record, { minLength: 1 }),
        fc.shuffledSubarray(record, { minLength: record.length }),
      ),
    );
    fc.assert(
      fc.property(whole, ([, called, record]) => {
        const model = modelOf(called, record, target, dtype);
        for (const name of called) expect(told(model, name)).toEqual(of(name));
      }),
      { numRuns: 12 },
    );
  });

  it('the order of the rules of the caller does not matter', () => {
    const q = [dtype, ['batch', heads, 'seq', 16]] as const;
    const attention = module({}, ({ q, k, v }: Readonly<Record<string, Value>>) => ({
      y: attendOp(q!, k!, v!, { mask: causal }),
    }));
    const lowered = (rules: typeof attentionRules) =>
      behind(compile(attention, { target, dtype, rules, inputs: { q, k: q, v: q } }).graph, 'y');
    const expected = lowered(attentionRules);
    fc.assert(
      fc.property(fc.shuffledSubarray([...attentionRules], { minLength: attentionRules.length }), (rules) => {
        expect(lowered(rules as unknown as typeof attentionRules)).toEqual(expected);
      }),
      { numRuns: 10 },
    );
  });
});

it('a part in another place of the same model would be noticed', () => {
  const model = modelOf(['local', 'causal'], ['local', 'causal'], targets.cpu, 'float32');
  expect(told(model, 'local').graph).not.toEqual(told(model, 'causal').graph);
  expect(told(model, 'local').decisions.map((d) => d.chosen)).not.toEqual(told(model, 'causal').decisions.map((d) => d.chosen));
});
