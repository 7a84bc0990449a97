// Sequences that are padded on the left give what each gives alone and packed: with an attention_mask, with position_ids beside it, and with key starts in the mask.
import { derivedOf, randomParameters, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type AnyModule,
  and,
  ConfigError,
  type InputType,
  interpret,
  keyStarts,
  module,
  type NDArray,
  type SequenceContext,
  standalone,
  type Value,
  withContext,
  zoo,
} from './index';

const [dim, vocabSize, longest] = [12, 23, 7];
const sequences = [[3, 1, 4, 15, 9], [5], [2, 6, 5, 3, 5, 8, 9], [7, 9, 3]];
const starts = sequences.map((s) => longest - s.length);

const layers = (mixer: object, rest: object = {}) => ({
  name: 'stack',
  depth: 2,
  layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2, ...mixer }, feedforward: 'mlp', ...rest },
});
const token = { name: 'token', vocabSize };
const model = (o: object): AnyModule => zoo.parse('model', { name: 'encoder', dim, seqLen: 11, ...o }) as unknown as AnyModule;
const models: Readonly<Record<string, () => AnyModule>> = {
  learnable: () => model({ embedding: token, position: 'learnable', stack: layers({}) }),
  'learnable, causal': () => model({ name: 'decoder', embedding: token, position: 'learnable', stack: layers({}) }),
  sine: () => model({ embedding: token, position: 'sine', stack: layers({}) }),
  vocab: () => model({ embedding: { name: 'vocab', vocabSize }, stack: layers({}) }),
  'rotary, causal': () => model({ name: 'decoder', embedding: token, stack: layers({ rotaryEmbedding: 'rotary' }) }),
  alibi: () => model({ embedding: token, stack: layers({ attentionBias: 'alibi' }) }),
  t5_relative: () => model({ embedding: token, stack: layers({ attentionBias: 't5_relative' }) }),
  ...Object.fromEntries(
    ['first', 'last', 'mean'].map((pooling) => [
      `pooling ${pooling}`,
      () => model({ name: 'classifier', classes: 5, pooling, embedding: token, position: 'learnable', stack: layers({}) }),
    ]),
  ),
};

// The mask of the context becomes that of key starts, as a module of one's own states it.
const startingAt = (m: AnyModule): AnyModule =>
  module({ m }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) =>
    (standalone(m) as (i: object, c: SequenceContext) => Readonly<Record<string, Value>>)(
      inputs,
      withContext(ctx, { mask: and(ctx.mask, keyStarts(inputs.starts!)) }),
    ),
  );

const array = (dims: readonly number[], numbers: readonly number[]): NDArray => ({
  dtype: 'int64',
  dims,
  data: Float64Array.from(numbers),
});
const inRows = (row: (s: number, i: number) => number): NDArray =>
  array(
    [sequences.length, longest],
    sequences.flatMap((_, s) => Array.from({ length: longest }, (__, i) => row(s, i))),
  );
const ids = inRows((s, i) => sequences[s]![i - starts[s]!] ?? 0);

/** The only result, with the parameters of m. */
function result(
  m: AnyModule,
  within: AnyModule,
  feeds: Readonly<Record<string, NDArray>>,
  layout: 'padded' | 'packed' = 'padded',
) {
  const inputs = Object.fromEntries(
    Object.entries(feeds).map(([name, { dims }]) => [
      name,
      (name === 'starts' ? ['int64', dims, 'data'] : ['int64', dims]) as InputType,
    ]),
  );
  const graph = traceBlock(within, inputs, { layout });
  const { of } = randomParameters(m);
  const [y] = Object.values(interpret(graph, { ...feeds, ...derivedOf(graph, feeds, {}) }, { parameters: of }));
  return y!;
}

/** The numbers of a sequence in a batch: its own rows, or its vector. */
function part({ dims, data }: NDArray, s: number, from: number, rows: number): readonly number[] {
  const width = dims.at(-1)!;
  const at = dims.length === 2 ? s : s * dims[1]! + from;
  return Array.from((data as Float64Array).subarray(at * width, (at + (dims.length === 2 ? 1 : rows)) * width));
}

// In float64; angles and sines in float32 are constants of the graph in some forms and computed in others.
describe.each(Object.entries(models))('%s', (_, make) => {
  const m = make();
  const alone = sequences.map((s) => Array.from(result(m, m, { ids: array([1, s.length], s) }).data as Float64Array));
  const attention_mask = inRows((s, i) => Number(i >= starts[s]!));
  // As other libraries make them: counted over the mask, 1 for padding.
  const position_ids = inRows((s, i) => (i >= starts[s]! ? i - starts[s]! : 1));
  it.each([
    ['attention_mask', m, { ids, attention_mask }],
    ['attention_mask and position_ids', m, { ids, attention_mask, position_ids }],
    ['key starts', startingAt(m), { ids, starts: array([starts.length], starts) }],
  ] as const)('%s', (__, within, feeds) => {
    const y = result(m, within, feeds);
    sequences.forEach(({ length }, s) => {
      const got = part(y, s, starts[s]!, length);
      expect(got).toHaveLength(alone[s]!.length);
      got.forEach((v, i) => expect(v).toBeCloseTo(alone[s]![i]!, 5));
    });
  });
  it('packed', () => {
    const lengths = array(
      [sequences.length],
      sequences.map((s) => s.length),
    );
    const y = result(m, m, { ids: array([sequences.flat().length], sequences.flat()), lengths }, 'packed');
    const all = alone.flat();
    expect(y.data).toHaveLength(all.length);
    all.forEach((v, i) => expect(y.data[i]).toBeCloseTo(v, 5));
  });
});

it('a packed batch with key starts is refused where positions are read', () => {
  const m = models.learnable!();
  const lengths = array([2], [5, 1]);
  const feeds = { ids: array([6], [3, 1, 4, 15, 9, 5]), lengths, starts: array([2], [1, 0]) };
  expect(() => result(m, startingAt(m), feeds, 'packed')).toThrow(ConfigError);
  expect(() => result(m, startingAt(m), feeds, 'packed')).toThrow(
    "the positions of packed sequences do not count from key starts; expected layout: 'padded', or the input position_ids",
  );
});

it('padding on the left beyond the table is refused before anything runs', () => {
  const m = model({ embedding: token, position: { name: 'learnable', seqLen: 5 }, stack: layers({}) });
  expect(() => result(m, startingAt(m), { ids, starts: array([4], starts) })).toThrow('longer than the model was built for');
});
