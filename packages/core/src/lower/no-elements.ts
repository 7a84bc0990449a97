// Values that are known to have no elements. Nothing computes them: runtimes read a size of 0 in a shape as one to be copied, and their kernels and fusions differ
// in what they do with it.
import { type Dim, namesOfDim } from '../dim/dim';
import { apply, type Node, type Value } from '../ir/graph';
import { toTensor } from '../tensor/convert';
import type { DType } from '../tensor/tensor';
import type { Found } from './rewrite';
import type { MatchContext } from './rule';

const rule = 'no elements';

/** Replaces each result that is read and has a size that is known to be 0, whatever the others, by an array without elements. */
export function withoutElements(nodes: readonly Node[], { uses }: Pick<MatchContext, 'uses'>): readonly Found[] {
  return nodes.flatMap((node): Found[] => {
    const covers = node.outputs.filter((v) => v.dims.includes(0) && uses(v) > 0);
    if (!covers.length || stays(node) || !isReadable(covers, node)) return [];
    const emit = (get: (v: Value) => Value): readonly Value[] => {
      const near = node.operands.flatMap((v) => (v ? [get(v)] : []));
      return covers.map((v) => nothing(v, near));
    };
    return [{ rule, node, match: { covers, emit } }];
  });
}

// A state is written in every run, a claim is checked in every run, and an Identity computes nothing.
const stays = ({ op, operands, attrs, history, graph: { ops } }: Node): boolean =>
  op.writes !== undefined ||
  op === ops.Identity ||
  op === ops.Refine ||
  attrs.claimed === true ||
  history.includes(rule) ||
  operands.every((v) => v === undefined);

// The sizes that are known are those of the constant, because shape inference takes a 0 among the sizes of an Expand for a 1.
function nothing({ dtype, dims }: { readonly dtype: DType; readonly dims: readonly Dim[] }, near: readonly Value[]): Value {
  const { root, ops } = near[0]!.graph;
  const isKnown = (d: Dim): d is number => typeof d === 'number';
  const known = dims.map((d) => (isKnown(d) ? d : 1));
  const empty = root.constant(toTensor({ dtype, dims: known, data: new Float64Array(0) }));
  if (dims.every(isKnown)) return empty;
  const asked = dims.map((d) => (isKnown(d) ? 1 : d));
  return apply(ops.OnnxExpand, [empty, ops.sizes(root, asked, near)], { dims })[0]!;
}

/** Whether the sizes of these values can be read from the inputs of the graph or from the operands of a node. */
export function isReadable(values: readonly { readonly dims: readonly Dim[] }[], { operands, graph }: Node): boolean {
  const sources = [...graph.root.inputs, ...operands].flatMap((v) => v?.dims ?? []);
  return values
    .flatMap(({ dims }) => dims)
    .every((d) => sources.includes(d) || namesOfDim(d).every((name) => sources.includes(name)));
}
