// Attention over many pairs of queries and keys in chunks of queries, where everything else would keep the scores of all of them.
import { type Dim, mulDims } from '../dim/dim';
import type { Modifiers } from '../expression/step';
import type { Attrs } from '../ir/define-op';
import { freeSizeName } from '../ir/free-names';
import type { Node, Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Get, type Match, type MatchContext, type Outcome, type Rule, refuse, rule } from '../lower/rule';
import { mapMask } from '../mask/mask';
import { Attend } from '../ops/attend';
import { attendInChunks } from '../ops/attend-chunked';
import { type AttendAttrs, attendParts } from '../ops/attend-parts';
import { FlexAttend } from '../ops/flex-attend';
import { mapModifiers } from '../ops/modifiers';
import { isAlwaysWhole, type WholeUpTo, wholeOrDivided } from './attend-divided';
import { sparingMatch } from './attend-few-queries';

const own = defineReasons({
  waits: () => 'each step of its loop would wait for the device',
  gradient: () => 'its gradient keeps the scores of all pairs of queries and keys',
  perPair: ({ what }: { readonly what: string }) => `${what} a number for every pair of query and key`,
});

/** How attention is divided. */
export interface ChunkSize {
  /** Queries in a chunk. */
  readonly rows: number;
  /**
   * Up to so many queries, or keys of known number, attention is not divided. The last chunk may be almost empty, so few chunks compute more than they need to; and with few keys
   * all scores together are in proportion to the queries.
   */
  readonly few: number;
  /** Up to so many scores are kept, for all sequences and heads together. */
  readonly fewScores: number;
}

/**
 * On a device, whose loops wait, scores or masks of more pairs are divided: 2 GiB in 16 bits. Where their number is known only in a run, they are not: a limit refuses what its
 * kernels cannot count.
 */
const manyScores = 2 ** 30;
/** Fewer steps that wait, and enough rows for a device. */
const rowsOnDevice = 1024;

/** 64 MiB of scores. Shorter chunks take longer, longer ones take more memory and the same time: docs/benchmarks.md. */
const measured: ChunkSize = { rows: 128, few: 512, fewScores: 2 ** 24 };

/**
 * Attend → a Loop over chunks of queries, whose memory is proportional to the number of keys instead of the number of pairs. Only where the cheapest other match, or the definition,
 * keeps the scores of all pairs, and these are many; where that depends on sizes that are known only at run time, it is decided then.
 */
export const chunksOf = (size: ChunkSize): Rule => ({
  ...rule('Attend → chunks of queries', Attend, (node, context) => divided(node, context, size)),
  compares: true,
});

/** The same for an attention whose scores or weights are modified. */
export const flexChunksOf = (size: ChunkSize): Rule => ({
  ...rule('FlexAttend → chunks of queries', FlexAttend, (node, context) =>
    divided(node, context, size, (get) => mapModifiers(node.attrs.modifiers, (i) => get(node.operands[i]!))),
  ),
  compares: true,
});

function divided<A extends AttendAttrs & Attrs>(
  node: Node<A>,
  context: MatchContext,
  { rows, few, fewScores }: ChunkSize,
  modifiersOf?: (get: Get) => Modifiers<Value>,
): Outcome {
  const { q, k, v, mask, queryOffset, bias, sinks, noise } = attendParts(node.operands, node.attrs);
  const { scale, softcap, weights, undivided } = node.attrs;
  if (undivided) return undefined;
  const [batch, heads, queries] = q.dims as [Dim, Dim, Dim];
  const keys = k.dims[2]!;
  const rival = context.cheapest(node as unknown as Node);
  const scores = rival ? rival.workspace : mulDims(batch, heads, queries, keys);
  // A mask in a bias counts too: it has as many elements as the scores of one head.
  const inBias = rival?.match.notes?.some((note) => reasons.maskOverScores.is(note));
  const kept = inBias ? mulDims(batch, queries, keys) : scores;
  const beyond = context.waitsInLoops && typeof kept === 'number' && kept > manyScores;
  const whole: readonly WholeUpTo[] = beyond
    ? []
    : [
        { size: queries, most: few },
        { size: scores, most: fewScores },
      ];
  if (!beyond && [...whole, { size: keys, most: few }].some((bound) => isAlwaysWhole(node, bound))) return undefined;
  if (typeof queries !== 'number' && context.cheapest(node as unknown as Node, sparingMatch)) return undefined;
  if (context.waitsInLoops && !beyond) return refuse(own.waits());
  if (noise) return refuse(own.perPair({ what: 'dropout has' }));
  if (weights) return refuse(own.perPair({ what: 'its weights are' }));
  if (node.graph.root.defined.has(node.outputs[0]!)) return refuse(own.gradient());

  const inChunks: Match['emit'] = (get) => {
    const optional = (x: Value | undefined): Value | undefined => x && get(x);
    const options = {
      mask: mapMask(mask, get),
      queryOffset: optional(queryOffset),
      bias: optional(bias),
      sinks: optional(sinks),
      scale,
      softcap,
      modifiers: modifiersOf?.(get),
      rows: beyond ? rowsOnDevice : rows,
      keysName: freeSizeName(node.graph, 'keys_of_chunk'),
    };
    return [attendInChunks(get(q), get(k), get(v), options)];
  };
  return { covers: node.outputs, sparesMemory: true, emit: wholeOrDivided(node, whole, inChunks) };
}

/** The rules with the size of chunks that was measured. */
export const useChunks = chunksOf(measured);
export const useFlexChunks = flexChunksOf(measured);
