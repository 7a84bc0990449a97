// Floating-point operations of a node, counted on meanings: a multiplication and an addition are two.
import type { Dim } from '../dim/dim';
import { domainOf } from '../ir/define-op';
import { type Node, subgraphsOf, type Value } from '../ir/graph';
import { impliedBy } from '../mask/features';
import { type AttendAttrs, attendParts } from '../ops/attend-parts';

/** The value of a size. */
export type SizeOf = (d: Dim) => number;

type Count = (node: Node, size: SizeOf) => number;

const elements = (v: Value, size: SizeOf): number => v.dims.reduce<number>((n, d) => n * size(d), 1);
const product = (dims: readonly Dim[], size: SizeOf): number => dims.reduce<number>((n, d) => n * size(d), 1);

const counts: Readonly<Record<string, Count>> = {
  MatMul: ({ operands: [a], outputs: [y] }, size) => 2 * elements(y!, size) * size(a!.dims.at(-1)!),
  Linear: ({ operands: [x, , bias], outputs: [y] }, size) => elements(y!, size) * (2 * size(x!.dims.at(-1)!) + (bias ? 1 : 0)),
  Gemm: ({ operands: [a, , c], attrs, outputs: [y] }, size) =>
    elements(y!, size) * (2 * size(a!.dims[attrs.transA ? 0 : 1]!) + (c ? 1 : 0)),
  Conv: ({ operands: [, weight, bias], outputs: [y] }, size) =>
    elements(y!, size) * (2 * product(weight!.dims.slice(1), size) + (bias ? 1 : 0)),
  ConvTranspose: ({ operands: [x, weight] }, size) => 2 * elements(x!, size) * product(weight!.dims.slice(1), size),
  Einsum: einsum,
  Attend: attend,
};

// What moves elements without computing.
const moving = new Set(
  `Reshape Transpose Slice Concat Split Expand Tile Gather GatherElements GatherND Pad Cast Shape Size Range Identity Squeeze Unsqueeze
  ScatterND ScatterElements TensorScatter CacheAppend PagedAppend Refine Flatten`.split(/\s+/),
);

/** Operations of a node at these sizes. What is no product counts one for each element of its results; what only moves elements, none. */
export function flopsOf(node: Node, size: SizeOf): number {
  const inside = subgraphsOf(node).map(([, graph]) => graph.nodes.reduce((n, inner) => n + flopsOf(inner, size), 0));
  // All steps of a loop; the dearer branch of an if.
  if (inside.length) return node.attrs.trips === undefined ? Math.max(...inside) : inside[0]! * size(node.attrs.trips as Dim);
  const [, name] = domainOf(node.op.key);
  const count = counts[name];
  if (count) return count(node, size);
  return moving.has(name) ? 0 : node.outputs.reduce((n, v) => n + elements(v, size), 0);
}

// Each pair of query and key that the mask's window allows, in both products.
function attend(node: Node, size: SizeOf): number {
  const { q, k, v, mask } = attendParts(node.operands, node.attrs as unknown as AttendAttrs);
  const [batch, heads, seq, headDim] = q.dims.map(size) as [number, number, number, number];
  const { left, right, documents } = impliedBy(mask);
  const pairs = documents ? seq * size(k.dims[2]!) : pairsWithin(seq, size(k.dims[2]!), left, right);
  return 2 * batch * heads * pairs * (headDim + size(v.dims[3]!));
}

/** Pairs of a query and a key from `left` before to `right` after it, where both end together. */
export function pairsWithin(
  seq: number,
  kvSeq: number,
  left = Number.POSITIVE_INFINITY,
  right = Number.POSITIVE_INFINITY,
): number {
  let pairs = 0;
  for (let i = kvSeq - seq; i < kvSeq; i++) pairs += Math.max(0, Math.min(kvSeq - 1, i + right) - Math.max(0, i - left) + 1);
  return pairs;
}

// All combinations of all axes; axes under an ellipsis are called by their place from the right.
function einsum({ operands, attrs }: Node, size: SizeOf): number {
  const sizes = new Map<string, number>();
  const inputs = (attrs.equation as string).replaceAll(' ', '').split('->')[0]!.split(',');
  inputs.forEach((labels, i) => {
    const { dims } = operands[i]!;
    const letters = [...labels.replace('...', '.')];
    const under = dims.length - (letters.length - (letters.includes('.') ? 1 : 0));
    const axes = letters.flatMap((l) => (l === '.' ? Array.from({ length: under }, (_, n) => `.${under - n}`) : [l]));
    axes.forEach((axis, n) => {
      sizes.set(axis, Math.max(sizes.get(axis) ?? 1, size(dims[n]!)));
    });
  });
  const all = [...sizes.values()].reduce((n, s) => n * s, 1);
  return inputs.length > 1 ? 2 * all : all;
}
