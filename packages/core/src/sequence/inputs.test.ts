// Roles of inputs: declared, or by names of the field; nothing else decides what an input is for.
import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { cast } from '../ops/cast';
import { mul } from '../ops/elementwise';
import { unsqueeze } from '../ops/movement';
import { size } from '../ops/shape';
import { GraphBuilder } from '../ops/vocabulary';
import { completeFeeds } from '../runtime/models.test-helper';
import { portable } from '../targets/portable';
import { tensor, toArray } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { expectClose } from '../testing/close';
import { randomArray } from '../testing/run-block';
import { attend, type SequenceContext, updateCache } from './context';
import { contextOf } from './context-of';
import { splitHeads } from './layout';

type Inputs = CompileOptions['inputs'];
/** One attention over x [batch, seq, 4], whose rows are scaled by their positions, under whatever the inputs say. */
const model = module({}, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
  const scale = unsqueeze(cast(ctx.positions, 'float32'), [-1]);
  const heads = splitHeads(mul(x!, scale), 2, ctx.layout);
  const [k, v, at] = updateCache(ctx, heads, heads);
  return { y: attend(heads, k, v, at) };
});
const x = ['float32', ['batch', 'seq', 4]] as const;
const compiled = (inputs: Inputs, o: Partial<CompileOptions> = {}) => compile(model, { target: portable(21), inputs, ...o });
const fed = (name: string, dtype: Tensor['dtype'], dims: number[], data: readonly number[]) => ({
  [name]: tensor(dtype, dims, data),
});
const rows = { x: tensor('float32', [2, 3, 4], [...randomArray('x', [2, 3, 4]).data]) };
function run(inputs: Inputs, feeds: Readonly<Record<string, Tensor>>) {
  const arrays = Object.fromEntries(Object.entries({ ...rows, ...feeds }).map(([name, t]) => [name, toArray(t)]));
  return interpret(compiled(inputs).traced, arrays).y!;
}
const roles = (inputs: Inputs) => Object.fromEntries(compiled(inputs).signature.inputs.map((p) => [p.name, p.role]));

describe('the role of an input', () => {
  it('is that of its name by default, and is in the signature', () => {
    const inputs = { labels: ['int64', ['batch', 1]], attention_mask: ['int64', ['batch', 'seq']], x } as const;
    expect(roles(inputs)).toEqual({ labels: undefined, attention_mask: 'keyPadding', x: 'sequence' });
    expect(roles({ x, attention_mask: ['bool', [1, 1, 'seq', 'seq']] }).attention_mask).toBe('denseMask');
  });

  it('is the one declared, whatever the name', () => {
    const padding = [1, 1, 0, 1, 0, 0];
    const byName = run({ x, attention_mask: ['int64', ['batch', 'seq']] }, fed('attention_mask', 'int64', [2, 3], padding));
    const byRole = run({ real: ['int64', ['batch', 'seq'], 'keyPadding'], x }, fed('real', 'int64', [2, 3], padding));
    expect(byRole).toEqual(byName);
    expect(byRole).not.toEqual(run({ x }, {}));
    expect(roles({ lengths: ['int64', ['batch'], 'data'], x }).lengths).toBe('data');
    const own = run({ lengths: ['int64', ['batch'], 'data'], x }, fed('lengths', 'int64', [2], [1000, -1]));
    expect(own).toEqual(run({ x }, {}));
  });

  it('must be declared for ambiguous names', () => {
    expect(() => compiled({ x, mask: ['bool', [1, 1, 'seq', 'seq']] })).toThrow(
      /inputs\.mask: the name "mask" does not say what the input is for; expected a role: 'denseMask', .* or 'data'/,
    );
    expect(() => compiled({ x, bias: ['float32', [1, 1, 'seq', 'seq']] })).toThrow(/inputs\.bias: .*'attentionBias'/);
    expect(
      run({ x, bias: ['float32', [1, 1, 3, 3], 'data'] }, { bias: tensor('float32', [1, 1, 3, 3], new Array(9).fill(3)) }),
    ).toEqual(run({ x }, {}));
    // One that cannot be taken for a mask or a bias of scores is the model's own.
    compiled({ x, bias: ['float32', [4]] });
  });

  it('belongs to one input', () => {
    expect(() =>
      compiled({ x, attention_mask: ['bool', ['batch', 'seq']], real: ['bool', ['batch', 'seq'], 'keyPadding'] }),
    ).toThrow('inputs.real: two inputs have the role keyPadding; expected one, got attention_mask and real');
  });

  it.each([
    ['attention_mask', ['float32', ['batch', 'seq']], /role keyPadding; expected bool, int64 or int32.*'additiveMask'/],
    ['lengths', ['int32', ['batch']], /role lengths; expected int64\[batch\], got int32\[batch\]/],
    ['lengths', ['int64', ['batch', 1]], /role lengths; .*role 'data'/],
    ['position_ids', ['float32', ['batch', 'seq']], /role positionIds/],
    ['memory_mask', ['float32', ['batch', 'memory_seq']], /role memoryKeyPadding/],
    ['attention_bias', ['int64', [1, 1, 'seq', 'seq']], /role attentionBias/],
    ['attention_mask', ['int64', [1, 1, 'seq', 'seq']], /role denseMask/],
    ['memory', ['int64', ['batch', 'memory_seq']], /role memory;/],
  ] as const)('has its dtypes and ranks: %s %j', (name, type, message) => {
    expect(() => compiled({ x, [name]: type })).toThrow(message);
  });
});

describe('an additive mask', () => {
  const padding = [0, 0, 1, 1, 1, 1];
  it.each([-3.4028234663852886e38, Number.NEGATIVE_INFINITY])('hides what it lowers by %d, as key padding does', (hidden) => {
    const additive = padding.map((real) => (real ? 0 : hidden));
    const got = run({ x, added: ['float32', ['batch', 'seq'], 'additiveMask'] }, fed('added', 'float32', [2, 3], additive));
    expectClose(got, run({ x, attention_mask: ['int64', ['batch', 'seq']] }, fed('attention_mask', 'int64', [2, 3], padding)));
  });
  it('adds what is finite, like a bias', () => {
    const additive = [0.5, -2, 1, 0, 3, -1];
    const got = run(
      { x, added: ['float32', ['batch', 1, 1, 'seq'], 'additiveMask'] },
      fed('added', 'float32', [2, 1, 1, 3], additive),
    );
    const bias = [0, 1].flatMap((b) => [0, 1, 2].flatMap(() => additive.slice(3 * b, 3 * b + 3)));
    expectClose(
      got,
      run({ x, attention_bias: ['float32', ['batch', 1, 'seq', 'seq']] }, fed('attention_bias', 'float32', [2, 1, 3, 3], bias)),
    );
  });
});

describe('the sequences that attend', () => {
  const sizes = (inputs: Inputs) => {
    const g = new GraphBuilder();
    const values = Object.fromEntries(Object.entries(inputs).map(([name, type]) => [name, g.input(name, ...type)]));
    return contextOf(g, values, { layout: 'padded' }).positions.dims;
  };
  const [ids, labels] = [
    ['int64', ['batch', 'seq']],
    ['int64', ['batch', 1]],
  ] as const;

  it('are the same in any order of the inputs', () => {
    expect(sizes({ labels, ids })).toEqual(['batch', 'seq']);
    expect(sizes({ ids, labels })).toEqual(['batch', 'seq']);
    expect(sizes({ labels, tokens: [...ids, 'sequence'] })).toEqual(['batch', 'seq']);
    expect(sizes({ labels: [...labels, 'data'], tokens: ids })).toEqual(['batch', 'seq']);
  });
  it('must be declared if several inputs may be the sequence', () => {
    expect(() => sizes({ labels, tokens: ids })).toThrow(
      /several inputs may be the sequence, and their sizes differ; expected the role 'sequence'/,
    );
    expect(() => sizes({ pixels: ['float32', ['batch', 3, 'height', 'width']] })).toThrow(/no input is a sequence/);
  });
});

describe('feeds are checked against roles', () => {
  it.each([3, 1000, -1])('a length of %d in sequences of 2 positions is refused', (length) => {
    const { signature } = compiled({ x, lengths: ['int64', ['batch']] });
    const feeds = { x: tensor('float32', [1, 2, 4], new Array(8).fill(1)), lengths: tensor('int64', [1], [length]) };
    expect(() => completeFeeds(signature, feeds, 0)).toThrow(
      `feed "lengths": a length out of range; expected 0 to 2 (seq), got ${length} at [0]`,
    );
    const arrays = Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, toArray(t)]));
    expect(() => interpret(compiled({ x, lengths: ['int64', ['batch']] }).traced, arrays)).toThrow(
      /lengths: a length out of range/,
    );
  });
});

describe('an input that is not read', () => {
  const plain = module({}, ({ x: v }: Readonly<Record<string, Value>>) => ({ y: mul(v!, 3) }));
  const compiledPlain = (inputs: Inputs) => compile(plain, { target: portable(21), inputs: { x, ...inputs } });

  it.each([
    ['position_ids', ['int64', ['batch', 'seq']]],
    ['lengths', ['int64', ['batch']]],
    ['attention_mask', ['bool', ['batch', 'seq']]],
    ['memory', ['float32', ['batch', 'seq', 4]]],
    ['memory', ['float32', ['batch', 'memory_seq', 4]]],
    ['attention_mask', ['bool', ['batch', 'keys']]],
  ] as const)('is refused: %s', (name, type) => {
    expect(() => compiledPlain({ [name]: type })).toThrow(`inputs.${name}: the model does not read this input`);
    compiledPlain({ [name]: [...type, 'data'] });
  });
  it.each([
    ['attention_msk', ['int64', ['batch', 'seq']], 'attention_mask'],
    ['key_padding_mask', ['bool', ['batch', 'seq']], 'attention_mask'],
    ['postion_ids', ['int64', ['batch', 'seq']], 'position_ids'],
    ['seqlens', ['int64', ['batch']], 'lengths'],
    ['attn_bias', ['float32', [1, 1, 'seq', 'seq']], 'attention_bias'],
    ['input_ids', ['int64', ['batch', 'seq']], 'ids'],
  ] as const)('is refused if its name is almost one that has a role: %s', (name, type, meant) => {
    expect(() => compiledPlain({ [name]: type })).toThrow(
      new RegExp(`inputs.${name}: the model does not read this input.* Did you mean "${meant}"\\? Omit it`),
    );
    compiledPlain({ [name]: [...type, 'data'] });
  });
  it.each([
    [
      'past_lengths',
      ['int64', ['batch']],
      / It belongs to a model with a cache \(the option state of compile\), which adds it\. Omit it/,
    ],
    ['decoder_ids', ['int64', ['batch', 'decoder_seq']], /\. Omit it/],
  ] as const)('is refused if only other models have it: %s', (name, type, hint) => {
    expect(() => compiledPlain({ [name]: type })).toThrow(`inputs.${name}: the model does not read this input`);
    expect(() => compiledPlain({ [name]: type })).toThrow(hint);
    compiledPlain({ [name]: [...type, 'data'] });
  });
  it('may be there without a role', () => {
    expect(
      compiledPlain({ labels: ['int64', ['batch', 1]], rewards: ['float32', [3]] }).signature.inputs.map(({ name }) => name),
    ).toEqual(['x', 'labels', 'rewards']);
  });
  it('may be read for its size only', () => {
    const counting = module({}, ({ x: v, memory }: Readonly<Record<string, Value>>) => ({
      y: mul(v!, cast(size(v!.graph, memory!.dims[1]!), 'float32')),
    }));
    compile(counting, { target: portable(21), inputs: { x, memory: ['float32', ['batch', 'memory_seq', 4]] } });
  });
});

describe('names that a state brings along', () => {
  it('are not those of sequences', () => {
    expect(() => compiled({ x: ['float32', ['batch', 'past', 4]] }, { state: 'io' })).toThrow(
      'inputs.x: the size name "past" is reserved; expected another name, because this one is the number of positions in a growing cache',
    );
    compiled({ x: ['float32', ['batch', 'past', 4]] });
    compiled({ x: ['float32', ['batch', 'past', 4]] }, { state: { io: 7 } });
    compiled({ x, attention_mask: ['bool', ['batch', 'past + seq']] }, { state: 'io' });
    const memory = ['float32', ['batch', 'past_memory', 4]] as const;
    expect(() => compiled({ x, memory }, { state: 'io' })).toThrow(/"past_memory" is reserved/);
  });
  it('are not those of inputs or outputs', () => {
    expect(() => compiled({ x, 'past_key_values.0.mine': ['float32', ['n']] }, { state: 'io' })).toThrow(
      'inputs.past_key_values.0.mine: the state adds inputs of this name',
    );
    const named = module({}, ({ x: v }: Readonly<Record<string, Value>>) => ({ 'present.mine': v! }));
    expect(() => compile(named, { target: portable(21), inputs: { x }, state: 'io' })).toThrow(/outputs\.present\.mine/);
  });
});
