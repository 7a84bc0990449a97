import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { Dim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { cast } from '../ops/cast';
import { add } from '../ops/elementwise';
import { unsqueeze } from '../ops/movement';
import { GraphBuilder } from '../ops/vocabulary';
import { portable } from '../targets/portable';
import { tensor, toArray } from '../tensor/convert';
import type { DType } from '../tensor/tensor';
import { attend, crossAttentionKeyValues, type SequenceContext } from './context';
import { contextOf } from './context-of';
import { padded, splitHeads } from './layout';

type Inputs = readonly (readonly [name: string, dtype: DType, dims: readonly Dim[]])[];

const about: Inputs = [
  ['attention_mask', 'bool', [1, 1, 'rows', 'columns']],
  ['attention_bias', 'float32', [1, 3, 'rows', 'columns']],
  ['memory', 'float32', ['others', 'memory_seq', 5]],
  ['memory_mask', 'bool', ['others', 'memory_seq']],
  ['lengths', 'int64', ['batch']],
];

describe('the sizes of a call', () => {
  it.each([
    ['x', 'float32', ['batch', 'seq', 7]],
    ['ids', 'int64', ['batch', 'seq']],
    ['q', 'float32', ['batch', 3, 'seq', 5]],
  ] as const)('are those of %s, wherever it stands among the inputs', (...rows) => {
    for (let at = 0; at <= about.length; at++) {
      const g = new GraphBuilder();
      const inputs = about.toSpliced(at, 0, rows).map(([name, dtype, dims]) => [name, g.input(name, dtype, dims)] as const);
      const { positions } = contextOf(g, Object.fromEntries(inputs), { layout: 'padded' });
      expect(positions.dims).toEqual(['batch', 'seq']);
    }
  });

  it('are those of the tokens in a packed batch', () => {
    for (const names of [
      ['lengths', 'position_ids', 'x'],
      ['position_ids', 'x', 'lengths'],
    ]) {
      const g = new GraphBuilder();
      const types: Record<string, readonly [DType, readonly Dim[]]> = {
        lengths: ['int64', ['batch']],
        position_ids: ['int64', ['places']],
        x: ['float32', ['tokens', 7]],
      };
      const inputs = Object.fromEntries(names.map((name) => [name, g.input(name, ...types[name]!)]));
      const { layout } = contextOf(g, inputs, { layout: 'packed' });
      expect(layout.kind).toBe('packed');
    }
  });
});

describe('positions under an attention mask', () => {
  const places = (
    state: 'io' | { readonly io: number },
    mask: readonly (readonly number[])[],
    pastLengths: readonly number[],
    seq: number,
  ) => {
    const g = new GraphBuilder();
    const keys = mask[0]!.length;
    const ids = g.input('ids', 'int64', ['batch', 'seq']);
    const attention_mask = g.input('attention_mask', 'int64', ['batch', state === 'io' ? 'past + seq' : state.io]);
    const ctx = contextOf(g, { ids, attention_mask }, { layout: 'padded', state });
    g.output('positions', ctx.positions);
    const batch = mask.length;
    const feeds = {
      ids: toArray(tensor('int64', [batch, seq], new Array(batch * seq).fill(0))),
      attention_mask: toArray(tensor('int64', [batch, keys], mask.flat())),
      ...(state !== 'io' && { past_lengths: toArray(tensor('int64', [batch], pastLengths)) }),
    };
    return [...interpret(g.finish(), feeds, { sizes: { past: keys - seq } }).positions!.data];
  };
  const left = [
    [0, 0, 1, 1, 1],
    [1, 1, 1, 1, 1],
  ];

  it('are counted over the last keys of a growing cache', () => {
    expect(places('io', left, [], 5)).toEqual([0, 0, 0, 1, 2, 0, 1, 2, 3, 4]);
    expect(places('io', left, [], 2)).toEqual([1, 2, 3, 4]);
  });

  // Rows that are not written yet stand behind those of the call, whatever the mask says of them.
  it.each([0, 1])('are counted from the query offset in a cache of fixed capacity, %i behind it', (rest) => {
    const mask = left.map((row) => [...row, rest, rest]);
    expect(places({ io: 7 }, mask, [0, 0], 5)).toEqual([0, 0, 0, 1, 2, 0, 1, 2, 3, 4]);
    expect(places({ io: 7 }, mask, [3, 3], 2)).toEqual([1, 2, 3, 4]);
    expect(places({ io: 7 }, mask, [4, 2], 1)).toEqual([2, 2]);
  });
});

describe('inputs that would be ignored in silence, or appear twice', () => {
  type Declared = Readonly<Record<string, readonly [DType, readonly Dim[]]>>;
  const contextWith = (declared: Declared, o: Parameters<typeof contextOf>[2]) => {
    const g = new GraphBuilder();
    return contextOf(g, Object.fromEntries(Object.entries(declared).map(([name, type]) => [name, g.input(name, ...type)])), o);
  };
  const ids = ['int64', ['batch', 'seq']] as const;
  const lengths = ['int64', ['batch']] as const;

  it.each([
    ['attention_mask', ['bool', ['batch', 'seq']]],
    ['attention_mask', ['bool', [1, 1, 'tokens', 'tokens']]],
    ['memory_mask', ['bool', ['batch', 'memory_seq']]],
  ] as const)('%s of packed rows', (name, type) => {
    expect(() => contextWith({ x: ['float32', ['tokens', 5]], lengths, [name]: type }, { layout: 'packed' })).toThrow(
      `inputs.${name}: a packed batch has no padding to mask; expected lengths, and masks that the blocks create`,
    );
  });

  it('lengths with a growing cache, which would keep the padding', () => {
    expect(() => contextWith({ ids, lengths }, { layout: 'padded', state: 'io' })).toThrow(
      'inputs.lengths: a growing cache appends the same number of tokens to every sequence, so it would keep the padding',
    );
    expect(contextWith({ ids, lengths }, { layout: 'padded', state: { io: 7 } }).lengths).toBeDefined();
  });

  it('what a state brings along', () => {
    expect(() => contextWith({ ids, past_lengths: ['int64', ['batch']] }, { layout: 'padded', state: { io: 7 } })).toThrow(
      'past_lengths: an input of this name exists already. The graph creates this input itself, so do not declare it',
    );
  });
});

describe('a state', () => {
  const decoder = module({}, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    const heads = (v: Value): Value => splitHeads(v, 2, padded);
    const [k, v, at] = crossAttentionKeyValues(ctx, (m) => [heads(m.hiddenStates), heads(m.hiddenStates)]);
    return { y: attend(heads(x!), k, v, at) };
  });
  const compiled = (mask: readonly Dim[]) =>
    compile(decoder, {
      target: portable(),
      state: 'io',
      inputs: {
        x: ['float32', ['batch', 'seq', 6]],
        memory: ['float32', ['batch', 'memory_seq', 6]],
        memory_mask: ['bool', mask],
      },
    });

  it('takes a mask over the cached positions of a memory and those of the call', () => {
    const { inputs } = compiled(['batch', 'past_memory + memory_seq']).signature;
    expect(inputs.map(({ name }) => name)).toContain('memory_mask');
  });

  it('refuses a mask of the positions of the call alone', () => {
    expect(() => compiled(['batch', 'memory_seq'])).toThrow(
      /^inputs\.memory_mask: with a state .*; expected \[batch, memory_seq \+ past_memory\], got bool\[batch, memory_seq\]/,
    );
  });

  const counting = module({}, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({
    y: add(x!, unsqueeze(cast(ctx.positions, 'float32'), [2])),
  }));
  const inputs = { x: ['float32', ['batch', 'seq', 6]] } as const;

  it('refuses to count positions from the end of a growing cache that nothing fills', () => {
    expect(() => compile(counting, { target: portable(), inputs, state: 'io' })).toThrow(
      /^state: positions are counted from the end of a growing cache.*expected state: \{ io: capacity \}.*got state: 'io'/,
    );
  });

  it('counts them from past_lengths with a capacity', () => {
    const { signature } = compile(counting, { target: portable(), inputs, state: { io: 13 } });
    expect(signature.inputs.map(({ name }) => name).sort()).toEqual(['past_lengths', 'x']);
  });
});
