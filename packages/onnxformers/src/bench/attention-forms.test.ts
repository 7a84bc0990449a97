// The forms of attention: every class of masks is in one, and each gives what the float64 interpreter says.
import { attentionRules } from '@onnxformers/attention';
import {
  type AnyModule,
  compile,
  createRunner,
  interpret,
  type Mask,
  module,
  targets,
  toArray,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { maskKinds } from '@onnxformers/core/lowering';
import { randomArray, randomParameters } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { maskClasses } from '../../../core/src/mask/classes';
import { derivedOf } from '../../../core/src/testing/example';
import { type AttentionForm, attentionForms, type FormSizes, formChain, formFeeds, formInputs, rowsOf } from './attention-forms';

const sizes: FormSizes = { batch: 2, heads: 6, kvHeads: 3, headDim: 5, seq: 137 };

function compiled(form: AttentionForm, target = targets.cpu) {
  const { batch, seq, kvSeq } = rowsOf(form, sizes);
  const chain = formChain(form, sizes, 2);
  const alone: AnyModule = module({ chain }, ({ queries, keys, values, ...data }: Readonly<Record<string, Value>>) => ({
    y: chain(queries!, keys!, values!, data) as Value,
  }));
  const parameters = randomParameters(alone);
  const rows = (heads: number, length: number) => ['float32', [batch, heads, length, sizes.headDim], 'data'] as const;
  const model = compile(alone, {
    target,
    rules: attentionRules,
    weights: new Map(Object.entries(parameters.byName).map(([name, x]) => [name, toTensor(x)])),
    inputs: {
      queries: rows(sizes.heads, seq),
      keys: rows(sizes.kvHeads, kvSeq),
      values: rows(sizes.kvHeads, kvSeq),
      ...formInputs(form, sizes),
    },
  });
  return { model, parameters };
}

it('has every class of masks', () => {
  const used = attentionForms.flatMap((form) =>
    compiled(form).model.traced.nodes.flatMap(({ attrs }) => (attrs.mask ? maskKinds(attrs.mask as Mask<unknown>) : [])),
  );
  const known = Object.values(maskClasses).map(({ class: { name } }) => name);
  expect(known.filter((name) => !used.includes(name) && !['none', 'and'].includes(name))).toEqual([]);
});

it('has names of their own', () => {
  const names = attentionForms.map(({ name }) => name);
  expect(names.filter((name, i) => names.indexOf(name) !== i || /;/.test(name))).toEqual([]);
});

describe('gives the right numbers', () => {
  it.each(attentionForms.map((form) => [form.name, form] as const))('%s', async (_, form) => {
    const { model, parameters } = compiled(form);
    const feeds = {
      ...Object.fromEntries(
        model.signature.inputs
          .filter(({ name }) => ['queries', 'keys', 'values'].includes(name))
          .map(({ name, dims }) => {
            const { data } = randomArray(name, dims as number[]);
            return [name, { dtype: 'float32', dims: dims as number[], data: Float32Array.from(data) } as const];
          }),
      ),
      ...formFeeds(form, sizes),
    };
    const run = await createRunner(model, ort);
    const y = toArray((await run(feeds)).y!);
    await run.dispose();
    const arrays = Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toArray(x)]));
    const expected = interpret(model.traced, { ...arrays, ...derivedOf(model.traced, arrays, {}) }, { parameters: parameters.of })
      .y!;
    const worst = expected.data.reduce((most, x, i) => Math.max(most, Math.abs(x - y.data[i]!)), 0);
    // 137 products of numbers up to 1.5, twice one after another, in float32.
    expect(worst).toBeLessThan(2 ** -24 * 137 * 1.5 * 4);
  });
});
