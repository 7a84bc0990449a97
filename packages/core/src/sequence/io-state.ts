// A state whose caches are inputs and outputs of the graph: growing, or of fixed capacity.

import { checkArguments } from '../arguments';
import { type Dim, namesOfDim, subDims } from '../dim/dim';
import { ConfigError } from '../error';
import type { Graph, GraphBuilder, Value } from '../ir/graph';
import { cacheAppend } from '../ops/cache';
import { concat } from '../ops/movement';
import { received } from './boundary';
import { derive } from './derive';
import { padded } from './layout';
import type { CallSizes, State } from './types';

/** Size names of a growing cache, and of a memory in a cache. */
export const pastDim = 'past';
export const memoryDim = 'past_memory';

/**
 * The state of a run as feeds of the next run: `present.0.key` → `past_key_values.0.key`. Other outputs are omitted.
 *
 * Example  const kept = pastOf({ 'present.0.key': tensor('float32', [1, 2, 0, 8], []) });
 */
export function pastOf<T>(outputs: Readonly<Record<string, T>>): Record<string, T> {
  checkArguments('pastOf', { results: outputs });
  const kept = Object.entries(outputs).filter(([name]) => name.startsWith('present.'));
  return Object.fromEntries(kept.map(([name, value]) => [name.replace('present.', 'past_key_values.'), value]));
}

/**
 * Inputs `past_key_values.0.key`, outputs `present.0.key`, numbered in the order in which layers use them.
 *
 * Shapes   growing: past [batch, kv_heads, past, head_dim], present [batch, kv_heads, past + seq, head_dim]
 *          fixed: both [batch, kv_heads, capacity, head_dim], with `past_lengths` int64 [batch], the positions in use before this call
 */
export function ioState(g: GraphBuilder, { batch }: CallSizes, capacity: number | undefined): State {
  const places = new Map<string, number>();
  const place = (): number => {
    if (!places.has(g.where)) places.set(g.where, places.size);
    return places.get(g.where)!;
  };
  const pastLengths = derive(g, 'past_lengths', { dtype: 'int64', dims: [batch] }, [], capacity === undefined ? pastDim : 0);
  const queryOffset = capacity === undefined ? undefined : pastLengths;
  const output = (name: string, value: Value, input: string, rows: Value): void => {
    g.stateOutputs.set(name, value);
    g.root.continuations.set(name, { input, rows: rows.dims[2]! });
  };
  return {
    // A growing cache has no query offset: queries are after all keys but their own.
    keys: { layout: padded, ...(queryOffset && { queryOffset }) },
    pastLengths,
    append(name, rows) {
      const [b, heads, , headDim] = rows.dims;
      const n = place();
      const input = `past_key_values.${n}.${name}`;
      const past = received(g, input, rows.dtype, [b!, heads!, capacity ?? pastDim, headDim!], 'pastKeyValue');
      const all = cacheAppend(past, rows, queryOffset);
      output(`present.${n}.${name}`, all, input, rows);
      return all;
    },
    // The first call feeds the memory and an empty cache, later calls an empty memory: the concatenation is right in both, without a branch.
    cacheMemory(make) {
      const n = place();
      const fresh = Object.entries(make()) as [never, Value][];
      const all = fresh.map(([name, rows]) => {
        const [b, heads, , headDim] = rows.dims;
        const dims = [b!, heads!, memoryDim, headDim!];
        const input = `past_key_values.${n}.memory_${name}`;
        const past = received(g, input, rows.dtype, dims, 'pastMemory');
        const joined = concat([past, rows], 2);
        output(`present.${n}.memory_${name}`, joined, input, rows);
        return [name, joined] as const;
      });
      return Object.fromEntries(all) as never;
    },
    updateRecurrent(name, first, step) {
      const n = place();
      const last = received(g, `past_key_values.${n}.${name}`, first.dtype, first.dims, 'pastRecurrent');
      const [next, result] = step(last);
      g.stateOutputs.set(`present.${n}.${name}`, next);
      return result;
    },
  };
}

/**
 * Refuses a growing cache whose length no input determines: positions are counted from its end, and nothing in the model appends to it.
 *
 * Throws   ConfigError that names the state
 */
export function checkPast({ inputs }: Graph): void {
  const counting = inputs.find(({ leaf }) => leaf?.kind === 'derived' && leaf.how === 'past_lengths' && leaf.plus === pastDim);
  if (!counting || inputs.some(({ dims }) => dims.some((d) => namesOfDim(d).includes(pastDim)))) return;
  throw new ConfigError({
    path: 'state',
    problem: 'positions are counted from the end of a growing cache, and the model has no self attention with a cache',
    expected: 'state: { io: capacity }, and past_lengths in every call after the first',
    got: "state: 'io'",
  });
}

/** Requires free capacity for the new tokens: a kernel that appends in place would write beyond the end. A growing cache has the same length for all sequences. */
export function limitPast(g: GraphBuilder, seq: Dim, capacity: number | undefined): void {
  const input = 'past_lengths';
  if (capacity === undefined) {
    g.limit({ input, min: pastDim, max: pastDim, problem: 'not the length of the growing cache' });
    return;
  }
  g.limit({
    input,
    min: 0,
    max: subDims(capacity, seq),
    problem: 'the capacity of the cache is too small for the new tokens',
    by: 'state.io',
    hint: 'Compile with a larger capacity (state: { io: capacity })',
  });
}
