// Ops with several operands name them, and nobody counts positions.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { OpCase } from '../testing/index';
import { prepare } from '../testing/op-suite';

const here = import.meta.dirname;
const caseFiles = readdirSync(here).filter((name) => name.endsWith('.cases.ts'));
/** Any number of operands of one kind, operands that attributes name, or those of a subgraph. */
const without = new Set([
  'Concat',
  'onnxformers.Concat',
  'Einsum',
  'Max',
  'Min',
  'Loop',
  'If',
  'onnxformers.Attend',
  'onnxformers.FlexAttend',
]);

it.each(caseFiles)('%s', async (file) => {
  const { cases } = (await import(join(here, file))) as { readonly cases: readonly OpCase[] };
  for (const c of cases)
    for (const { op, operands } of prepare(c).graph.nodes) {
      if (operands.length > 2 && !without.has(op.key)) expect(op.operands, `${op.key} in ${c.name}`).toBeDefined();
      for (const name of op.writes ?? []) expect(op.operands, op.key).toContain(name);
    }
});

it('no rule, target or definition counts to an operand', () => {
  const packages = join(here, '../../..');
  const sources = readdirSync(packages)
    .map((name) => join(name, 'src'))
    .filter((folder) => existsSync(join(packages, folder)))
    .flatMap((folder) =>
      readdirSync(join(packages, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
    )
    .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|\/gen\//.test(name));
  expect(sources.length).toBeGreaterThan(300);
  const counted = sources.flatMap((name) => {
    const text = readFileSync(join(packages, name), 'utf8');
    return [...text.matchAll(/\boperands\[([2-9]|\d\d)\]|\boperands: \[[^\]]*, ,/g)].map(([found]) => `${name}: ${found}`);
  });
  expect(counted).toEqual([]);
});
