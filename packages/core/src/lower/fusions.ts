// Patterns that ONNX Runtime rewrites when it opens a session. The kernel that it makes of one may lack the dtype, be less precise, or be wrong: the
// probed tables (`fusions`) say for which dtypes. Sessions have these optimisations on unless they are turned off, so such nodes are kept apart.
import type { Node, Value } from '../ir/graph';
import type { DType } from '../tensor/tensor';
import { dtypeOf } from './dtype-of';
import type { Reason } from './reason';
import { reasons } from './reasons';

/** The dtypes in which a runtime's fusions fail or give other numbers, by their names in the tables. */
export type Fusions = Readonly<Record<string, readonly DType[]>>;

/** A node at which a fusion begins. */
export interface FusionPattern {
  /** As the runtime calls it, and a form of it that has a row of its own. */
  readonly fusion: string;
  /** Key of the op of the node. */
  readonly op: string;
  /** Undefined where the pattern is not there. */
  find(node: Node): Pattern | undefined;
}
interface Pattern {
  /** The operand that is made by what the fusion takes along. */
  readonly operand: number;
  /** The dtype of the row of the table. */
  readonly dtype: DType;
}

// The runtime removes Identity before it looks for patterns.
const bare = (v: Value | undefined): Value | undefined => (v?.producer?.op.key === 'Identity' ? bare(v.producer.operands[0]) : v);
const maker = (v: Value | undefined, ...keys: readonly string[]): Node | undefined => {
  const producer = bare(v)?.producer;
  return producer && keys.includes(producer.op.key) ? producer : undefined;
};
const isScalar = (v: Value | undefined): boolean => v?.dims.every((d) => d === 1) ?? false;

/** The pattern at the first operand for which this is true. */
const through =
  (test: (v: Value | undefined, i: number, node: Node) => boolean) =>
  (node: Node): Pattern | undefined => {
    const operand = node.operands.findIndex((v, i) => test(v, i, node));
    return operand < 0 ? undefined : { operand, dtype: dtypeOf(node)! };
  };

/** x · sigmoid(x), and x · sigmoid(a x). */
const quickGelu = through((v, i, node) => {
  const [gate, x] = [maker(v, 'Sigmoid')?.operands[0], bare(node.operands[1 - i])];
  return gate !== undefined && (bare(gate) === x || (maker(gate, 'Mul')?.operands.some((o) => bare(o) === x) ?? false));
});
/** A product of a matrix times a number: also transposed, since a transposition becomes part of the product first. */
const scaledOperand = through(
  (v) => maker(maker(v, 'Transpose')?.operands[0] ?? v, 'Mul', 'Div')?.operands.some(isScalar) ?? false,
);
/** A number times a product. */
const scaledProduct = through((v, i, node) => maker(v, 'MatMul') !== undefined && isScalar(node.operands[1 - i]));
const madeBy = (key: string) => through((v, i) => i === 0 && maker(v, key) !== undefined);

/**
 * x / √(mean + ε), with x a difference (`centred`) or not. `cast`: x is made by a Cast, which the fusion takes along. The rows of the tables are of a Cast to
 * float32, by the dtype before it; a Cast to another dtype counts as that dtype, with and without a Cast.
 */
const normalized =
  ({ centred, cast }: { readonly centred: boolean; readonly cast: boolean }) =>
  (node: Node): Pattern | undefined => {
    const spread = maker(maker(node.operands[1], 'Sqrt')?.operands[0], 'Add');
    if (!spread?.operands.some((v) => maker(v, 'ReduceMean'))) return undefined;
    const difference = maker(node.operands[0], 'Sub');
    if ((difference !== undefined) !== centred) return undefined;
    const { dtype } = node.operands[0]!;
    const from = maker(difference ? difference.operands[0] : node.operands[0], 'Cast')?.operands[0]?.dtype;
    if (dtype !== 'float32') return cast && from === undefined ? undefined : { operand: 1, dtype };
    return (from !== undefined) === cast ? { operand: 1, dtype: from ?? dtype } : undefined;
  };

/** All patterns. A fusion whose pattern is missing here is noticed by the test of the tables. */
export const fusionPatterns: readonly FusionPattern[] = [
  { fusion: 'QuickGeluFusion', op: 'Mul', find: quickGelu },
  { fusion: 'MatMulScaleFusion', op: 'MatMul', find: scaledOperand },
  { fusion: 'MatMulScaleFusion', op: 'Mul', find: scaledProduct },
  { fusion: 'MatMulScaleFusion', op: 'Div', find: scaledProduct },
  { fusion: 'FuseReluClip', op: 'Clip', find: madeBy('Relu') },
  { fusion: 'Pad_Fusion', op: 'MaxPool', find: madeBy('Pad') },
  { fusion: 'LayerNormFusion', op: 'Div', find: normalized({ centred: true, cast: false }) },
  { fusion: 'LayerNormFusion of a Cast', op: 'Div', find: normalized({ centred: true, cast: true }) },
  { fusion: 'SimplifiedLayerNormFusion', op: 'Div', find: normalized({ centred: false, cast: false }) },
  { fusion: 'SimplifiedLayerNormFusion of a Cast', op: 'Div', find: normalized({ centred: false, cast: true }) },
];

/** Why a node cannot stay as it is: one of these fusions would take it. */
export function takenBy(node: Node, fusions: Fusions): Reason | undefined {
  for (const { fusion, op, find } of fusionPatterns) {
    const dtypes = op === node.op.key ? fusions[fusion] : undefined;
    const found = dtypes && find(node);
    if (found && dtypes.includes(found.dtype)) return reasons.takenByFusion({ fusion, op, dtype: found.dtype });
  }
  return undefined;
}
