// Texts that are equal for nodes and matches that lowering treats alike.
import { printType } from '../ir/define-op';
import { type Node, subgraphsOf, type Value } from '../ir/graph';
import { type Found, nameOf } from './rewrite';

/** Of a match, which is not tried again. */
export const banKey = ({ rule, node, match }: Found): string =>
  `${nameOf(rule, match.variant)} ${node.scope} ${node.op.key} ${node.outputs.map((v) => v.dims.join())}`;
/** Of a decision that `explain` prints once. */
export const decisionKey = (node: Node, where: string | undefined): string =>
  `${node.scope} ${where ?? ''} ${node.op.key} ${node.operands.map(printType)} ${subgraphsOf(node).length ? '' : attrsKey(node)}`;
// Constants are compared by their elements, since a kernel may refuse some.
const constantKey = ({ leaf }: Value): string => {
  if (leaf?.kind !== 'constant') return '';
  const { data } = leaf.tensor;
  return `=${data.length <= 64 ? Array.from(data as ArrayLike<number | bigint>, String) : 'large'}`;
};
/** Of nodes that the target runs or does not run alike. */
export const fitKey = (node: Node): string =>
  `${node.op.key} ${node.operands.map((v) => (v ? `${printType(v)}${constantKey(v)}` : '-'))} ${attrsKey(node)}`;
const attrsKey = ({ attrs }: Node): string => JSON.stringify(attrs, plain);
const plain = (_: string, x: unknown): unknown => (typeof x === 'bigint' ? `${x}n` : ArrayBuffer.isView(x) ? x.byteLength : x);
/** True for nodes with equal attributes. */
export const sameAttrs = (a: Node, b: Node): boolean => attrsKey(a) === attrsKey(b);
