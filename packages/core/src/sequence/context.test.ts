import { describe, expect, it } from 'vitest';
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import { and, causal, type Mask, none, not, slidingWindow } from '../mask/index';
import { cond } from '../ops/control';
import { add } from '../ops/elementwise';
import { GraphBuilder } from '../ops/vocabulary';
import { attend, attendsToMemory, crossAttentionKeyValues, newShared, withContext } from './context';
import { contextOf } from './context-of';
import { padded, splitHeads } from './layout';

it('a context with some entries changed computes positions only when they are read', () => {
  const g = new GraphBuilder();
  const lengths = g.input('lengths', 'int64', ['batch']);
  const ctx = contextOf(g, { x: g.input('x', 'float32', ['tokens', 7]), lengths }, { layout: 'packed' });
  const inputs = () => g.inputs.map((v) => (v.leaf as { name: string }).name);
  const before = inputs();

  const changed = withContext(ctx, { mask: causal });
  expect(changed.mask).toBe(causal);
  expect(changed.lengths).toBe(lengths);
  expect(ctx.mask).not.toBe(causal);
  expect(inputs()).toEqual(before);
  expect(changed.positions).toBe(ctx.positions);
  expect(inputs()).toEqual([...before, 'positions_of_lengths']);
});

it('cross attention does not use the positions and the bias of its queries', () => {
  const g = new GraphBuilder();
  const input = (name: string, dims: (number | string)[]) => g.input(name, 'float32', dims);
  const [x, memory, attention_bias] = [
    input('x', ['batch', 'seq', 7]),
    input('memory', ['batch', 'rows', 7]),
    input('attention_bias', [1, 1, 'seq', 'seq']),
  ];
  const ctx = contextOf(g, { x, memory, attention_bias }, { layout: 'padded' });
  const [, , at] = crossAttentionKeyValues(ctx, ({ hiddenStates: rows }) => [rows, rows]);
  expect(at.bias).toBeUndefined();
  expect(at.keys).toEqual({ layout: { kind: 'padded' } });
  expect(Object.getOwnPropertyDescriptor(at, 'positions')!.get).toBeDefined();
});

it('what a branch makes first is made again outside of it, and once', () => {
  const g = new GraphBuilder();
  const [x, yes] = [g.input('x', 'float32', [7]), g.input('yes', 'bool', [])];
  const shared = newShared(g);
  let made = 0;
  const table = () =>
    shared.get('table', () => {
      made++;
      return { rows: [add(x, 2)] };
    }).rows[0]!;
  cond(
    yes,
    () => [add(table(), table())],
    () => [x],
  );
  expect(made).toBe(1);
  expect(table().graph).toBe(g);
  cond(
    yes,
    () => [x],
    () => [table()],
  );
  expect(made).toBe(2);
});

it('a shared value has the rules of no block', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [7]);
  const origin = { rules: [{ name: 'of a block', roots: [], match: () => [] } as never], history: [] };
  const [own, shared] = g.at('block', () => [add(x, 2), newShared(g).get('sum', () => add(x, 3))] as const, origin);
  expect(own.producer!.rules).toEqual(origin.rules);
  expect(shared.producer!.rules).toEqual([]);
  expect(shared.producer!.scope).toBe('block');
});

describe('positions of a memory', () => {
  const traced = (mask: Mask<Value>, sameSequence?: true) => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['batch', 'seq', 8]);
    // As long as the queries, and of the same size name: sizes say nothing.
    const memory = g.input('memory', 'float32', ['batch', 'seq', 8]);
    const ctx = contextOf(g, { x, memory }, { layout: 'padded' });
    const within = withContext(ctx, { memory: { ...ctx.memory!, ...(sameSequence && { sameSequence }) } });
    const heads = (v: Value) => splitHeads(v, 2, padded);
    const [k, v, at] = crossAttentionKeyValues(within, ({ hiddenStates: rows }) => [heads(rows), heads(rows)]);
    expect(attendsToMemory(at)).toBe(!sameSequence);
    return attend(heads(x), k, v, withContext(at, { mask: and(at.mask, mask) }));
  };
  it.each([causal, slidingWindow({ left: 2, right: 2 }), not(causal)])('cannot be compared with those of queries: %o', (mask) => {
    expect(() => traced(mask)).toThrow(ConfigError);
    expect(() => traced(mask)).toThrow(
      /positions of queries and of a memory cannot be compared; .*dense masks in cross attention/,
    );
  });
  it('are comparable if the memory is the sequence of the queries', () => {
    traced(none);
    traced(causal, true);
  });
});
