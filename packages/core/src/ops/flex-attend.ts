// FlexAttend: softmax attention whose scores or weights are modified by an expression. An op of its own, so that no kernel of Attend can forget the expression.

import { defineOp } from '../ir/define-op';
import { reasons } from '../lower/reasons';
import { knownSizes } from '../mask/places';
import { Attend } from './attend';
import { decomposeAttend } from './attend-definition';
import { attendFlops } from './attend-flops';
import type { ModifiedAttrs } from './attend-options';
import { attendParts } from './attend-parts';
import { evaluateAttend } from './attend-reference';
import { checkModifiers, mapModifiers, modified, modifiedAt, printModifiers } from './modifiers';

/** The high-level op behind {@link attendOp} with a `scoreMod` or a `weightMod` that no option of Attend expresses. */
export const FlexAttend = defineOp<ModifiedAttrs>({
  key: 'onnxformers.FlexAttend',
  results: ['y', 'weights'],
  attributes: { ...Attend.attributes, modifiers: 'data' },
  infer(operands, attrs) {
    const types = Attend.infer(operands, attrs);
    const { q, k, mask, queryOffset } = attendParts(operands, attrs);
    const [batch, heads, seq] = q!.dims;
    const sizes = { batch: batch!, heads: heads!, seq: seq!, kvSeq: k!.dims[2]!, queryOffset };
    checkModifiers(
      mapModifiers(attrs.modifiers, (i) => operands[i]!),
      knownSizes(mask, sizes),
    );
    return types;
  },
  flops: attendFlops,
  notes: (node) => [reasons.scoresModified({ modifiers: printModifiers(node.attrs.modifiers) }), ...(Attend.notes?.(node) ?? [])],
  decompose(operands, attrs, ops) {
    const parts = attendParts(operands, attrs);
    const { scores, weights } = mapModifiers(attrs.modifiers, (i) => operands[i]!);
    return decomposeAttend(parts, attrs, ops, {
      ...(scores && { scores: (x, frame) => modified(scores, x, parts.mask, frame) }),
      ...(weights && { weights: (x, frame) => modified(weights, x, parts.mask, frame) }),
    });
  },
  evaluate(operands, attrs) {
    const { scores, weights } = mapModifiers(attrs.modifiers, (i) => operands[i]!);
    return evaluateAttend(attendParts(operands, attrs), attrs, {
      ...(scores && { scores: (x, pair) => modifiedAt(scores, x, pair) }),
      ...(weights && { weights: (x, pair) => modifiedAt(weights, x, pair) }),
    });
  },
});
