// Packed sequences in chunks of queries, where padding them for the attention would compute more.
import { addDims, type Dim, mulDims } from '../dim/dim';
import { freeSizeName } from '../ir/free-names';
import { apply, type Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Match, type Rule, refuse, rule } from '../lower/rule';
import { conjuncts, impliedBy, mapMask } from '../mask/index';
import { Attend } from '../ops/attend';
import { attendInChunks } from '../ops/attend-chunked';
import { attendParts } from '../ops/attend-parts';
import { sourceOf, tokenPlaces } from '../sequence/token-places';

const own = defineReasons({
  waits: () => 'each step of its loop would wait for the device',
  perPair: () => 'a bias, dropout, the weights or a gradient need a number for every pair of tokens',
  cheaper: () => 'a kernel takes packed sequences, or blocks of a window take less',
});

/** The least cost of padding sequences for their attention; what costs less computes no padding. */
const padding = 15;

/**
 * Attend on packed sequences → a Loop over chunks of queries, each of which attends to the sequences that it has queries of, so that the time is that of the sum of
 * squared lengths. Where the sequences are short or similar, padding them for the attention computes less: which is decided by their sizes in each run.
 */
export const packedChunksOf = (rows: number): Rule => ({
  ...rule('Attend(packed) → chunks of queries', Attend, (node, context) => {
    const { q, k, v, mask, sinks, bias, noise } = attendParts(node.operands, node.attrs);
    const packed = conjuncts(mask).find((m) => m.class.name === 'documents');
    if (!packed || node.attrs.undivided) return undefined;
    if (context.waitsInLoops) return refuse(own.waits());
    const rival = context.cheapest(node);
    // Without a rival, memory decides: there is a rule for that.
    if (!rival) return undefined;
    if (rival.cost < padding) return refuse(own.cheaper());
    const { offsets, keyOffsets } = packed.operands as Readonly<Record<string, Value>>;
    const [ofQueries, ofKeys] = [sourceOf(offsets!), sourceOf(keyOffsets!)];
    if (!ofQueries || !ofKeys) return refuse(reasons.derivedOffsets());
    // What has a number for every pair of tokens takes the memory that chunks would spare.
    if (bias || noise || node.attrs.weights || node.graph.root.defined.has(node.outputs[0]!)) return refuse(own.perPair());
    const { scale, softcap } = node.attrs;
    const emit: Match['emit'] = (get) => {
      const { cond, lessOrEqual, size } = node.graph.ops;
      const operands = node.operands.map((operand) => operand && get(operand));
      const [query, key, value] = [get(q), get(k), get(v)];
      const given = { mask: mapMask(mask, get), sinks: sinks && get(sinks) };
      const [places, keyPlaces] = [ofQueries, ofKeys].map((source) =>
        tokenPlaces(query.graph.root, { ...source, lengths: get(source.lengths) }),
      ) as [Value, Value];
      const near = [query, key, places, keyPlaces];
      const [sequences, longest] = places.dims as [Dim, Dim];
      const [tokens, keys, longestKeys] = [query.dims[2]!, key.dims[2]!, keyPlaces.dims[1]!];
      // A chunk attends to the keys of its own queries' sequences: as many as it has queries, and the rest of the first and the last.
      const inChunks = addDims(mulDims(2 * rows, keys), mulDims(impliedBy(mask).right === 0 ? 1 : 2, tokens, longestKeys));
      const padded = mulDims(2, sequences, longest, longestKeys);
      return cond(
        lessOrEqual(size(query, padded, near), size(query, inChunks, near)),
        () => apply(Attend, operands, { ...node.attrs, undivided: true }),
        () => [
          attendInChunks(query, key, value, {
            ...given,
            scale,
            softcap,
            rows,
            keysName: freeSizeName(query.graph, 'keys_of_chunk'),
          }),
        ],
      );
    };
    return { covers: node.outputs, cost: rival.cost - 1, emit };
  }),
  compares: true,
});

/** The rule with the queries in a chunk that were measured: docs/benchmarks.md. */
export const usePackedChunks = packedChunksOf(128);
