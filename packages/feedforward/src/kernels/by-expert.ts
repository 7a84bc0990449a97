// Experts one after another, each for the rows that use it.
import { mulDims, type Value } from '@onnxformers/core';
import { defineReasons, freeSizeName, operandsOf, refuse, rule } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { Experts, experts, ofOne } from '../experts';

const own = defineReasons({
  allExperts: () => 'every row uses every expert',
  partsWait: () =>
    'the number of rows of an expert is known only after the device has computed it: each expert would wait for it',
  manyExperts: ({ experts, most }: { readonly experts: number; readonly most: number }) =>
    `${experts} experts would be too many nodes: at most ${most}`,
});

/** About ten nodes each. */
const mostExperts = 256;

/**
 * Experts → the rows in the order of their experts, and each expert for its consecutive part of them. Time and memory follow the number of experts of a row, not that
 * of all experts.
 */
export const useByExpert = rule('Experts → one expert after another', Experts, (node, { waitsInLoops }) => {
  const { x, up } = operandsOf(Experts, node.operands);
  const { chosen } = node.attrs;
  const count = up.dims[0] as number;
  if (chosen >= count) return refuse(own.allExperts());
  if (waitsInLoops) return refuse(own.partsWait());
  if (count > mostExperts) return refuse(own.manyExperts({ experts: count, most: mostExperts }));
  return {
    covers: node.outputs,
    emit(get) {
      const operands = node.operands.map((v) => v && get(v));
      const { x: rows, weights, ...maps } = operandsOf(Experts, operands);
      const tokens = x.dims[0]!;
      const uses = mulDims(tokens, chosen);
      const [shares, which] = ops.topK(weights, chosen);
      // One entry for each use of an expert by a row; those of the same expert become neighbours.
      const [expertOf, order] = ops.topK(ops.reshape(which, [uses]), uses, { largest: false });
      const ordered = ops.gather(rows, ops.div(order, chosen), 0);
      const weighed = ops.gather(ops.reshape(shares, [uses, 1]), order, 0);
      const isBefore = ops.less(ops.unsqueeze(expertOf, [1]), ops.iota(rows, count + 1));
      const before = ops.reduceSum(ops.cast(isBefore, 'int64'), [0], { keepDims: false });
      const bound = (e: number): Value => ops.slice(before, { axes: [0], starts: [e], ends: [e + 1] });
      const parts = Array.from({ length: count }, (_, e) => {
        const size = freeSizeName(rows.graph, [...(node.scope ? [node.scope] : []), `rows_of_expert_${e}`].join('.'));
        const part = (from: Value): Value =>
          ops.sliceBetween(from, { axis: 0, start: bound(e), end: bound(e + 1), size, mayBeEmpty: true });
        const own = ofOne(maps, (map) => ops.slice(map, { axes: [0], starts: [e], ends: [e + 1] }));
        return experts(part(ordered), part(weighed), own, { ...node.attrs, chosen: 1 });
      });
      const results = ops.refine(ops.concat(parts, 0), [uses, parts[0]!.dims[1]!]);
      const [, inverse] = ops.topK(order, uses, { largest: false });
      const byRow = ops.reshape(ops.gather(results, inverse, 0), [tokens, chosen, results.dims[1]!]);
      return [ops.reduceSum(byRow, [1], { keepDims: false })];
    },
  };
});
