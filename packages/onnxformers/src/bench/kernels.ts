// Which kernels a measured model has.
import { type ExplainedOp, explain, type Graph, type Machine, type Model, type Node } from '@onnxformers/core';
import { subgraphsOf } from '@onnxformers/core/lowering';

/** The ops of the blocks, those of attention first and then by frequency, with the kernel that the runtime runs for them if the target predicts it. */
export function kernelsOf({ graph, target }: Model, machine: Machine): readonly string[] {
  const counts = new Map<string, number>();
  for (const node of nodesIn(graph)) {
    if (!node.scope) continue; // data, not part of the measurement
    const run = [...new Set(target.forecast?.([node], machine).map((f) => f.kernel))].join(' or ');
    const name = `${node.op.key.split('.').at(-1)}${run ? ` (${run})` : ''}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const isAttention = (key: string): number => Number(/Attention/.test(key));
  return [...counts].sort(([a, m], [b, n]) => isAttention(b) - isAttention(a) || n - m).map(([key]) => key);
}

/** The nodes of a graph and of its branches and loops. */
const nodesIn = ({ nodes }: Graph): readonly Node[] =>
  nodes.flatMap((node) => [node, ...subgraphsOf(node).flatMap(([, inner]) => nodesIn(inner))]);

/** What each attention of a model became, without repetitions: `MultiHeadAttention with the mask in its bias (CUDNN_FLASH_ATTENTION)`, `primitives`. */
export const attentionsOf = (model: Model): readonly string[] => [...new Set(explainedAttentions(model).map(printAttention))];

/** The decisions about the attentions of a model. */
export const explainedAttentions = (model: Model): readonly ExplainedOp[] =>
  explain(model)
    .blocks.flatMap((block) => block.ops)
    .filter(({ op }) => op === 'Attend' || op === 'FlexAttend');

// Without the sizes for which a branch runs, which `explain` prints.
function printAttention({ chosen, variant, runs }: ExplainedOp): string {
  const kernels = [...new Set(runs.map(({ kernel }) => kernel))].join(' or ');
  const name = chosen === 'decomposed' ? 'primitives' : chosen.split(' → ').at(-1)!;
  return [name, variant, kernels && `(${kernels})`].filter(Boolean).join(' ');
}
