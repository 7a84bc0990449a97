// Nodes kept apart where a runtime would make a kernel of them that fails or is less precise.
import { apply } from '../ir/graph';
import { type FusionPattern, fusionPatterns } from '../lower/fusions';
import { reasons } from '../lower/reasons';
import type { Match, Rule } from '../lower/rule';
import { max } from '../ops/elementwise';

// The greater of a value and itself: no runtime sees through it, and every element stays what it is.
const apart = ({ fusion, op, find }: FusionPattern): Rule => ({
  name: `${op} → ${op} apart from its operand`,
  op,
  remedy: (why) => reasons.takenByFusion.is(why) && why.data.fusion === fusion,
  match(node): Match | undefined {
    const found = find(node);
    if (!found) return undefined;
    return {
      covers: node.outputs,
      notes: [reasons.keptFromFusion({ fusion, dtype: found.dtype })],
      emit(get) {
        const operands = node.operands.map((v) => v && get(v));
        operands[found.operand] = max(operands[found.operand]!, operands[found.operand]!);
        return apply(node.op, operands, node.attrs);
      },
    };
  },
});

/** x ∘ y → x ∘ max(y, y), for each pattern of the runtime's fusions. */
export const keepApart: readonly Rule[] = fusionPatterns.map(apart);
