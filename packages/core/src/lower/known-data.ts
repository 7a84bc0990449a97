// What a graph tells about the data of masks before it runs: by limits that the runner checks, by assumptions, and by the ops that made the data.
import { addDims, mulDims } from '../dim/dim';
import { builderLike, inputOf, type MatchContext, madeBy, type Node, type Value } from '../ir/graph';
import { everyQueryHasKey, type KnownData, mapMask } from '../mask/index';
import { type AttendAttrs, attendParts } from '../ops/attend-parts';
import { toArray } from '../tensor/convert';

/** What is known about lengths and offsets. */
export const knownData = (context: MatchContext): KnownData => ({
  nonEmpty: (lengths) => knownNonEmpty(lengths, context),
  covers: (offsets, rows) => {
    const { leaf } = offsets;
    if (leaf?.kind !== 'derived' || leaf.how !== 'offsets') return false;
    const lengths = leaf.from[0]!;
    const name = inputOf(lengths)?.name;
    const prefixes = mulDims(leaf.plus ?? 0, lengths.dims[0]!);
    return offsets.graph.root.limits.some(
      ({ input, of, min, max }) =>
        input !== undefined &&
        input === name &&
        of === 'sum' &&
        min !== undefined &&
        min === max &&
        addDims(min, prefixes) === rows,
    );
  },
});

/** True for lengths that are at least 1: by `max(lengths, 1)`, or by an assumption, for inputs with the role of lengths, which the runner checks. */
export function knownNonEmpty(lengths: Value, context: MatchContext): boolean {
  const { leaf, graph } = lengths;
  const most = madeBy(lengths, graph.ops.Max);
  if (most) return most.operands.some((x) => x?.leaf?.kind === 'constant' && toArray(x.leaf.tensor).data.every((n) => n >= 1));
  const role = leaf?.kind === 'input' ? graph.root.roles.get(leaf.name) : undefined;
  return (role === 'lengths' || role === 'memoryLengths') && context.assumes('no empty sequences');
}

/** True if it is known that every query of an Attend attends to some key, so that its weights add up to 1. */
export function weightsAddUp(node: Node<AttendAttrs>, context: MatchContext): boolean {
  const { q, k, mask, queryOffset, sinks, noise, bias } = attendParts(node.operands, node.attrs);
  // A bias of −∞ hides keys too.
  if (sinks || noise || bias) return false;
  // Positions of queries and keys become values, which are of no use here.
  const graph = builderLike(node.graph);
  const originals = new Map<Value, Value>();
  const standIn = (v: Value): Value => {
    const known = [...originals].find(([, original]) => original === v)?.[0];
    const made = known ?? graph.input(`v${v.id}`, v.dtype, v.dims);
    originals.set(made, v);
    return made;
  };
  // They bind the sizes.
  for (const input of node.graph.root.inputs) standIn(input);
  const frame = {
    graph,
    batch: q.dims[0]!,
    heads: q.dims[1]!,
    seq: q.dims[2]!,
    kvSeq: k.dims[2]!,
    queryOffset: queryOffset && standIn(queryOffset),
  };
  const { nonEmpty, covers } = knownData(context);
  return everyQueryHasKey(mapMask(mask, standIn), frame, {
    nonEmpty: (lengths) => nonEmpty!(originals.get(lengths) ?? lengths),
    covers: (offsets, rows) => covers!(originals.get(offsets) ?? offsets, rows),
  });
}
