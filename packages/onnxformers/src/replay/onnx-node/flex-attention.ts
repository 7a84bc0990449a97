// FlexAttention of ONNX: the functions in the standard's cases, each as a function of this library.
import { none, type OnnxNode, type ScoreMod, scoreMod, type Value, type WeightMod, weightMod } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import type { NodeCase } from './node-case';

const topLeft = { align: 'topLeft' } as const;

/** By the name of the subgraph, which is that of the standard's example. */
const scoreFunctions: Readonly<Record<string, ScoreMod>> = {
  score_mod_bias: scoreMod((score) => score.add(0.5)),
  score_mod_soft_cap: scoreMod((score) => score.div(20).tanh().mul(20)),
  score_mod_relative_positional: scoreMod((score, _b, _h, q, k) => score.add(q.sub(k)), topLeft),
  score_mod_causal_mask: scoreMod((score, _b, _h, q, k) => q.ge(k).select(score, Number.NEGATIVE_INFINITY), topLeft),
};
const weightFunctions: Readonly<Record<string, WeightMod>> = {
  prob_mod_scale: weightMod((weight) => weight.mul(0.5)),
};

export const isFlexAttention = ({ domain, opType }: Pick<OnnxNode, 'domain' | 'opType'>): boolean =>
  domain === 'ai.onnx.preview' && opType === 'FlexAttention';

const functionOf = ({ attributes }: OnnxNode, name: string): string | undefined => {
  const attribute = attributes[name];
  return attribute?.type === 'graph' ? attribute.value.name : undefined;
};

/** Why a node cannot be converted; undefined if it can. */
export function unknownFunction(node: OnnxNode): string | undefined {
  const [score, weight] = [functionOf(node, 'score_mod'), functionOf(node, 'prob_mod')];
  if (score !== undefined && !(score in scoreFunctions)) return `the function ${score} is not known`;
  if (weight !== undefined && !(weight in weightFunctions)) return `the function ${weight} is not known`;
  const other = Object.keys(node.attributes).find((name) => !['scale', 'score_mod', 'prob_mod'].includes(name));
  return other && `the attribute ${other} is not known`;
}

/** Emits the node: its output by name. */
export function emitFlexAttention({ node }: NodeCase, value: (name: string) => Value | undefined): Record<string, Value> {
  const [q, k, v] = node.inputs.map((name) => value(name)!) as [Value, Value, Value];
  const { scale } = node.attributes;
  const [score, weight] = [functionOf(node, 'score_mod'), functionOf(node, 'prob_mod')];
  const y = ops.attendOp(q, k, v, {
    mask: none,
    ...(scale?.type === 'float' && { scale: scale.value }),
    ...(score !== undefined && { scoreMod: scoreFunctions[score]! }),
    ...(weight !== undefined && { weightMod: weightFunctions[weight]! }),
  });
  return { [node.outputs[0]!]: y };
}
