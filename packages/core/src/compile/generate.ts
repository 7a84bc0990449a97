// Generation in one run: prefill outside of the Loop, one decoding step for each iteration inside, KV caches carried from step to step.

import { addDims, type Dim } from '../dim/dim';
import { checkOptions, describe, internal, ShapeError } from '../error';
import { aFunction, aSize, given, graphOrValue } from '../given';
import { printType, type TensorType } from '../ir/define-op';
import { type GraphBuilder, inputOf, type Pool, type Value } from '../ir/graph';
import { type Mask, none } from '../mask/index';
import { cacheAppend } from '../ops/cache';
import { cast } from '../ops/cast';
import { equal, logicalNot, logicalOr, where } from '../ops/comparison';
import { loop } from '../ops/control';
import { add } from '../ops/elementwise';
import { concat, expand, reshape, transpose, unsqueeze } from '../ops/movement';
import { reduceMax } from '../ops/reduce';
import { gatherElements, topK } from '../ops/select';
import { fill, iota, size } from '../ops/shape';
import { type Memory, newShared, type SequenceContext } from '../sequence/context';
import { padded } from '../sequence/layout';
import { boundCarried } from '../sequence/limits';
import { appendPaged, blockTable, checkPool } from '../sequence/paged-state';
import type { State } from '../sequence/types';

/** Options of {@link generate}. */
export interface GenerateOptions {
  /** int64 [batch, seq] */
  readonly prompt: Value;
  /** Real tokens of each prompt, int64 [batch]; the rest is padding on the right. Absent: all. */
  readonly lengths?: Value;
  /** Number of new tokens. */
  readonly steps: number;
  /** Capacity of each cache in positions: at least the length of the longest prompt plus steps − 1: the last token is not cached. */
  readonly capacity: number;
  /** Keeps keys and values in pools of blocks that kernels update in place, instead of carrying them from step to step. */
  readonly paged?: Pool;
  /** A further mask; the model itself is causal. */
  readonly mask?: Mask<Value>;
  readonly memory?: Memory;
  /** End-of-sequence id: the run ends early once every sequence has produced it. Sequences that ended repeat it. */
  readonly endId?: number;
  /** The model: ids [batch, n] → logits [batch, n, vocab]. Traced twice. */
  readonly step: (ids: Value, ctx: SequenceContext) => Value;
}

const known = {
  prompt: true,
  lengths: true,
  steps: true,
  capacity: true,
  paged: true,
  mask: true,
  memory: true,
  endId: true,
  step: true,
} as const;

/**
 * Greedy generation inside the graph.
 *
 * Shapes   prompt int64 [batch, seq] → tokens int64 [batch, steps]; with endId [batch, generated], generated ≤ steps
 * Dtypes   those of the model, whose logits may be any float
 * Throws   ShapeError when the model does not return logits [batch, n, vocab], steps is below 1, or the prompt is known not to fit into `capacity`;
 *          in a run FeedError for empty prompts, and for prompts that exceed the capacity or, with the new tokens, the model's positions
 * Lowers   everywhere: Loop, TopK, and the model lowered for prefill and for a decoding step
 * Example  const tokens = generate(g, { prompt: x, steps: 16, capacity: 128, step: (ids, at) => ops.matmul(embedding(97, 64)(ids), q) });
 */
export function generate(g: GraphBuilder, o: GenerateOptions): Value {
  checkOptions('generate', o, known);
  const { prompt, steps, endId } = o;
  given('generate', { g, prompt, step: o.step, capacity: o.capacity }, { g: graphOrValue, step: aFunction, capacity: aSize });
  if (!Number.isInteger(steps) || steps < 1)
    throw new ShapeError({
      path: 'generate.steps',
      problem: 'not a number of tokens',
      expected: 'an integer >= 1',
      got: String(steps),
    });
  const [batch, seq] = prompt.dims as [Dim, Dim];
  const caches = new Caches(g, batch, o.capacity, o.paged);
  limitPrompt(g, o, seq);
  const pastLengths = o.lengths ?? expand(reshape(size(g, seq), [1]), [batch]);
  const nothing = expand(g.number([0], 'int64'), [batch]);
  const counted = expand(reshape(iota(g, seq), [1, seq]), [batch, seq]);
  const logits = o.step(prompt, contextFor(o, caches.prompt(nothing), counted, o.lengths));
  const last = lastRow(logits, pastLengths);
  checkEnd(endId, last.dims[2]!);
  const first = best(last);
  if (steps === 1) return first;
  const done = endId === undefined ? undefined : equal(first, g.number(endId, 'int64'));
  const { scans } = loop(g, {
    trips: g.number(steps - 1, 'int64'),
    count: endId === undefined ? steps - 1 : 'generated - 1',
    ...(done && { starts: logicalNot(all(done)) }),
    carried: [first, pastLengths, ...(done ? [done] : []), ...caches.values()],
    body(_, token, rows, ...rest) {
      const ended = endId === undefined ? undefined : rest[0];
      const carried = ended ? rest.slice(1) : rest;
      // The last token of the run is returned, not read.
      boundCarried(rows!, o.lengths ?? seq, steps - 2);
      const inside = caches.carried(rows!, carried);
      const next = best(o.step(token!, contextFor(o, inside.state, unsqueeze(rows!, [1]), undefined)));
      const result = ended ? endedOr(next, ended, endId!) : next;
      const endedNow = ended && logicalOr(ended, equal(result, g.number(endId!, 'int64')));
      return {
        carried: [result, add(rows!, 1), ...(endedNow ? [endedNow] : []), ...inside.updated()],
        scans: [result],
        ...(endedNow && { goOn: logicalNot(all(endedNow)) }),
      };
    },
  });
  const rest = transpose(reshape(scans[0]!, [scans[0]!.dims[0]!, batch]), [1, 0]);
  return concat([first, rest], 1);
}

// Positions beyond the capacity of a cache would be lost, and an empty prompt has no last position. The last token is not cached.
function limitPrompt(g: GraphBuilder, { lengths, steps, capacity }: GenerateOptions, seq: Dim): void {
  const room = {
    problem: 'the capacity of the caches is too small for the prompt and the new tokens',
    by: 'generate.capacity',
    hint: 'Call generate with a larger capacity, or fewer steps',
  };
  const empty = 'the prompt has no tokens';
  g.limit({ size: seq, min: 1, problem: empty });
  const input = lengths && inputOf(lengths)?.name;
  g.limit({ size: lengths ? seq : addDims(seq, steps - 1), max: capacity, ...room });
  if (input === undefined) return;
  g.limit({ input, min: 1, problem: empty });
  g.limit({ input, max: capacity - steps + 1, ...room });
}

function checkEnd(endId: number | undefined, vocab: Dim): void {
  if (endId === undefined || (Number.isSafeInteger(endId) && endId >= 0 && !(typeof vocab === 'number' && endId >= vocab)))
    return;
  throw new ShapeError({
    path: 'generate.endId',
    problem: 'not an id of the vocabulary',
    expected: typeof vocab === 'number' ? `an integer from 0 to ${vocab - 1}` : 'an integer >= 0',
    got: describe(endId),
  });
}

// [batch, n, vocab] → the logits at position lengths − 1, [batch, 1, vocab]
function lastRow(logits: Value, lengths: Value): Value {
  given('generate', { 'the result of step': logits });
  if (logits.rank !== 3)
    throw new ShapeError({
      path: 'generate.step',
      problem: 'the model does not return logits',
      expected: '[batch, n, vocab]',
      got: printType(logits),
    });
  const [batch, , vocab] = logits.dims as [Dim, Dim, Dim];
  const at = expand(reshape(add(lengths, -1), [batch, 1, 1]), [batch, 1, vocab]);
  return gatherElements(logits, at, 1);
}
// TopK, because it is faster than ArgMax on GPUs: [batch, 1, vocab] → [batch, 1]
const best = (logits: Value): Value => reshape(topK(logits, 1)[1]!, logits.dims.slice(0, 2));
const endedOr = (next: Value, ended: Value, endId: number): Value => where(ended, endId, next);
const all = (flags: Value): Value => equal(reduceMax(cast(logicalNot(flags), 'int64'), [0, 1], { keepDims: false }), 0);

function contextFor(o: GenerateOptions, state: State, positions: Value, lengths: Value | undefined): SequenceContext {
  return {
    mask: o.mask ?? none,
    positions,
    layout: padded,
    shared: newShared(positions.graph.root),
    state,
    ...(lengths && { lengths }),
    ...(o.memory && { memory: o.memory }),
  };
}

// Caches by the scope and name that requested them. Prefill creates them, and the loop carries them.
class Caches {
  private readonly first = new Map<string, Value>();
  private readonly table: Value | undefined;
  private readonly kept = new Map<string, Record<string, Value>>();
  constructor(
    private readonly g: GraphBuilder,
    private readonly batch: Dim,
    private readonly capacity: number,
    private readonly pool: Pool | undefined,
  ) {
    if (!pool) return;
    checkPool(pool);
    this.table = blockTable(g, [batch, Math.ceil(capacity / pool.blockSize)], pool, [], 0);
  }

  values(): readonly Value[] {
    return [...this.first.values()];
  }

  prompt(queryOffset: Value): State {
    return this.state(queryOffset, (key, type, next) => {
      const empty = fill(this.g, type.dims, 0, type.dtype);
      const after = next(empty);
      this.first.set(key, after);
      return after;
    });
  }

  carried(queryOffset: Value, values: readonly Value[]): { readonly state: State; updated(): readonly Value[] } {
    const keys = [...this.first.keys()];
    const current = new Map(keys.map((key, i) => [key, values[i]!]));
    const state = this.state(queryOffset, (key, _, next) => {
      const before = current.get(key);
      if (!before) throw internal(`${key} has no state after the prompt`);
      const after = next(before);
      current.set(key, after);
      return after;
    });
    return { state, updated: () => [...current.values()] };
  }

  private state(queryOffset: Value, update: (key: string, type: TensorType, next: (last: Value) => Value) => Value): State {
    const { g, batch, capacity, kept, pool, table } = this;
    const paged =
      pool && table && ((name: string, rows: Value) => appendPaged(g, pool, { name, rows, pastLengths: queryOffset, table }));
    return {
      keys: { layout: padded, queryOffset },
      pastLengths: queryOffset,
      append:
        paged ??
        ((name, rows) =>
          update(`${g.where}.${name}`, { dtype: rows.dtype, dims: [batch, rows.dims[1]!, capacity, rows.dims[3]!] }, (past) =>
            cacheAppend(past, rows, queryOffset),
          )),
      // Keys and values of a memory are computed by prefill and stay outside of the loop.
      cacheMemory: (make) => {
        const known = kept.get(g.where) ?? make();
        kept.set(g.where, known);
        return known as ReturnType<typeof make>;
      },
      updateRecurrent: (name, first, step) => {
        let result: unknown;
        update(`${g.where}.${name}`, first, (last) => {
          const [next, value] = step(last);
          result = value;
          return next;
        });
        return result as never;
      },
    };
  }
}
