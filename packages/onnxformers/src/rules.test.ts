// Every rule that a block brings serves some example somewhere, and tells some other why it does not.
import { compile, modulesOf, type Target, targets } from '@onnxformers/core';
import { exampleOf, typesOf, variantsOf } from '@onnxformers/core/testing';
import { expect, it } from 'vitest';
import { zoo } from './index';

const machines: readonly (readonly [Target, 'float32' | 'float16'])[] = [
  [targets.cpu, 'float32'],
  [targets.wasm, 'float32'],
  [targets.webgpu, 'float32'],
  [targets.cuda, 'float32'],
  [targets.cuda, 'float16'],
  [targets.portable(18), 'float32'],
];
/** No example keeps a state in pages, turns heads of 16 channels, is long enough for blocks, pads packed rows in float16 or has stored weights; the tests of the kernels do. */
const elsewhere = ['Attend(PagedAppend) → PagedAttention'];
/** They choose by the machine and the length alone, and say nothing where they do not apply. */
const neverRefused = [
  // Refused above 256 landmarks, which no example has.
  'MostOrthogonal → steps without a Loop',
  'LinearRecurrence → by the number of positions',
  'Carry → parallel prefix',
];
const waysElsewhere = [
  'Attend → gathered blocks plain',
  'PadRows → RestorePadding plain',
  'Attend → GroupQueryAttention with rotary embedding',
  'Attend → GroupQueryAttention with rotary embedding and a null sink',
  'Attend → Attend on projections with their biases in the weights plain',
];

const [rules, taken, refused] = [new Set<string>(), new Set<string>(), new Set<string>()];
const [ways, waysTaken] = [new Set<string>(), new Set<string>()];
const way = (rule: string, variant = 'plain') => `${rule} ${variant}`;
const variants = zoo.blocks
  .flatMap((block) => block.definition.examples.flatMap((_: unknown, index: number) => variantsOf(exampleOf(block, index, zoo))))
  .map((v) => ({ ...v, own: modulesOf(v.module).flatMap(({ item }) => item.about.rules ?? []) }))
  .filter(({ own }) => own.length > 0);
for (const { own } of variants) for (const { name } of own) rules.add(name);
const seen = new Set<string>();

it.each(machines.map(([target, dtype]) => [target.name, dtype, target] as const))(
  'examples compile for %s in %s',
  (name, dtype, target) => {
    for (const { module, inputs, layout } of variants)
      for (const d of compile(module, { target, dtype, inputs: typesOf(inputs), layout }).decisions) {
        taken.add(d.chosen);
        waysTaken.add(way(d.chosen, d.variant));
        for (const { rule, variant } of d.refused) {
          refused.add(rule);
          ways.add(way(rule, variant));
        }
      }
    seen.add(`${name} ${dtype}`);
  },
);

it('every rule is taken by some example and refused by another', () => {
  expect(seen.size, 'the tests above run first').toBe(machines.length);
  expect(rules.size).toBeGreaterThan(13);
  expect([...rules].filter((name) => !taken.has(name))).toEqual(elsewhere);
  expect([...rules].filter((name) => !refused.has(name) && !elsewhere.includes(name))).toEqual(neverRefused);
  expect(waysTaken.size).toBeGreaterThan(20);
  expect([...ways].filter((name) => !waysTaken.has(name) && !elsewhere.some((rule) => name.startsWith(rule)))).toEqual(
    waysElsewhere,
  );
});
