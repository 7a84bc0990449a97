// Which kernels a measured model has.
import { type ExplainedOp, explain, type Machine, type Model } from '@onnxformers/core';

/** The ops of the blocks, most frequent first, with the kernel that the runtime runs for them if the target predicts it. */
export function kernelsOf({ graph, target }: Model, machine: Machine): readonly string[] {
  const counts = new Map<string, number>();
  for (const node of graph.nodes) {
    if (!node.scope) continue; // data, not part of the measurement
    const run = [...new Set(target.forecast?.([node], machine).map((f) => f.kernel))].join(' or ');
    const name = `${node.op.key.split('.').at(-1)}${run ? ` (${run})` : ''}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([key]) => key);
}

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
