import { expect, it } from 'vitest';
import { compile } from '../compile/compile';
import { explain, printExplanation } from '../explain';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { add } from '../ops/elementwise';
import { iota } from '../ops/shape';
import { cuda } from '../targets/cuda';
import { portable } from '../targets/portable';

it('a size becomes a scalar by Gather on CUDA, whose runtime frees what Reshape shares', () => {
  const counted = module({}, ({ x }: Record<string, Value>) => ({ y: add(x!, iota(x!.graph, x!.dims[0]!)) }));
  const opsFor = (target: typeof cuda) => compile(counted, { target, inputs: { x: ['int64', ['n']] } });
  expect(opsFor(cuda).graph.nodes.map(({ op }) => op.key)).toEqual(['Shape', 'Gather', 'Range', 'Add']);
  expect(opsFor(portable(18)).graph.nodes.map(({ op }) => op.key)).toEqual(['Shape', 'Reshape', 'Range', 'Add']);
  expect(printExplanation(explain(opsFor(cuda)))).not.toContain('Reshape → Gather of a size');
});
