// The packed layout: sequences one after another without padding give what each gives alone, with blocks that do not know of it.
import { multiHead, scaledDotProduct } from '@onnxformers/attention';
import {
  compile,
  createRunner,
  embedding,
  type Feeds,
  hiddenStatesOf,
  initialize,
  linear,
  type Model,
  module,
  type Ort,
  type SequenceContext,
  type Target,
  type Tensor,
  targets,
  tensor,
  type Value,
} from '@onnxformers/core';
import { glu, mlp } from '@onnxformers/feedforward';
import { learnable, rotary, sine } from '@onnxformers/positional';
import { preNorm, rmsNorm } from '@onnxformers/residual';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';

const [vocab, dim, outDim] = [31, 24, 11];
const lengths = [5, 1, 7, 3];
const memoryLengths = [2, 7, 1, 5];
const longest = 7;

const positions = {
  sine: () => sine({ dim }),
  learnable: () => learnable({ dim, seqLen: 13 }),
  rotary: () => undefined,
} as const;

interface Variant {
  readonly position: keyof typeof positions;
  readonly causal: boolean;
  readonly cross: boolean;
}

function network({ position, causal, cross }: Variant) {
  const embed = embedding(vocab, dim, { init: { kind: 'normal', std: 1 } });
  const place = positions[position]();
  const rotation = position === 'rotary' ? { rotaryEmbedding: rotary({ dim: 8 }) } : {};
  const layer = (i: number) =>
    preNorm({
      dim,
      mixer: multiHead({ dim, heads: 6, kvHeads: i ? 2 : 6, headDim: 8, attention: scaledDotProduct({ causal }), ...rotation }),
      ...(cross && { cross: multiHead({ dim, heads: 3, headDim: 8, cross: true, ...rotation }) }),
      feedforward: i ? glu({ dim, hidden: 29 }) : mlp({ dim, hidden: 31 }),
      norm: (which: number) => rmsNorm({ dim, eps: 1e-5 * (which + 1) }),
    });
  const layers = [layer(0), layer(1)];
  const head = linear(dim, outDim);
  return module({ embed, place, layers, head }, (inputs: Record<string, Value>, ctx: SequenceContext) => {
    const x = embed(inputs.ids!);
    return { y: head(layers.reduce((h, next) => next(h, ctx), place ? hiddenStatesOf(place(x, ctx), x, ctx).hiddenStates : x)) };
  });
}

const number = (i: number): number => Math.sin(i * i + 3 * i);
const idsOf = (b: number): readonly number[] => Array.from({ length: lengths[b]! }, (_, i) => (7 * b + 5 * i * i + 3) % vocab);
const memoryOf = (b: number): readonly number[] =>
  Array.from({ length: memoryLengths[b]! * dim }, (_, i) => number(i + 1000 * b));
const int64 = (dims: readonly number[], values: readonly number[]): Tensor => tensor('int64', dims, values);
const all = <T>(f: (b: number) => readonly T[]): T[] => lengths.flatMap((_, b) => f(b));
const filled = (xs: readonly number[], length: number): readonly number[] => [
  ...xs,
  ...Array<number>(length - xs.length).fill(0),
];
const away = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)), a.length === b.length ? 0 : Number.POSITIVE_INFINITY);

const run = async (model: Model, feeds: Feeds): Promise<Float32Array> => {
  const runner = await createRunner(model, ort as unknown as Ort, { session: { graphOptimizationLevel: 'disabled' } });
  const { y } = await runner(feeds);
  await runner.dispose();
  return y!.data as Float32Array;
};

const variants: readonly Variant[] = [
  { position: 'sine', causal: false, cross: false },
  { position: 'learnable', causal: false, cross: false },
  { position: 'rotary', causal: false, cross: false },
  { position: 'sine', causal: true, cross: false },
  { position: 'rotary', causal: true, cross: false },
  { position: 'learnable', causal: true, cross: true },
  { position: 'rotary', causal: true, cross: true },
];
const nameOf = ({ position, causal, cross }: Variant): string =>
  `${causal ? 'decoder' : 'encoder'}${cross ? ' with a memory' : ''}, ${position}`;

for (const target of [targets.portable(18), targets.portable(23), targets.cpu] satisfies Target[]) {
  describe(target.name, () => {
    it.each(variants.map((v) => [nameOf(v), v] as const))('%s: packed = padded = each sequence alone', async (_, variant) => {
      const model = network(variant);
      const weights = initialize(model, { seed: 11 });
      const { cross } = variant;
      const packed = compile(model, {
        target,
        weights,
        layout: 'packed',
        inputs: {
          ids: ['int64', ['tokens']],
          lengths: ['int64', ['batch']],
          ...(cross && { memory: ['float32', ['memory_tokens', dim]] as const, memory_lengths: ['int64', ['batch']] as const }),
        },
      });
      const padded = compile(model, {
        target,
        weights,
        inputs: {
          ids: ['int64', ['batch', 'seq']],
          lengths: ['int64', ['batch']],
          ...(cross && {
            memory: ['float32', ['batch', 'memory_seq', dim]] as const,
            memory_lengths: ['int64', ['batch']] as const,
          }),
        },
      });
      const [batch, tokens] = [lengths.length, lengths.reduce((a, b) => a + b)];
      const inOne = await run(packed, {
        ids: int64([tokens], all(idsOf)),
        lengths: int64([batch], lengths),
        ...(cross && {
          memory: tensor('float32', [memoryLengths.reduce((a, b) => a + b), dim], all(memoryOf)),
          memory_lengths: int64([batch], memoryLengths),
        }),
      });
      const inRows = await run(padded, {
        ids: int64(
          [batch, longest],
          all((b) => filled(idsOf(b), longest)),
        ),
        lengths: int64([batch], lengths),
        ...(cross && {
          memory: tensor(
            'float32',
            [batch, longest, dim],
            all((b) => filled(memoryOf(b), longest * dim)),
          ),
          memory_lengths: int64([batch], memoryLengths),
        }),
      });
      let at = 0;
      for (let b = 0; b < batch; b++) {
        const n = lengths[b]!;
        const part = inOne.slice(at * outDim, (at + n) * outDim);
        at += n;
        expect(away(part, inRows.slice(b * longest * outDim, (b * longest + n) * outDim))).toBeLessThan(5e-6);
        const alone = await run(padded, {
          ids: int64([1, n], idsOf(b)),
          lengths: int64([1], [n]),
          ...(cross && {
            memory: tensor('float32', [1, memoryLengths[b]!, dim], memoryOf(b)),
            memory_lengths: int64([1], [memoryLengths[b]!]),
          }),
        });
        expect(away(part, alone)).toBeLessThan(5e-6);
      }
      expect(at * outDim).toBe(inOne.length);
    });
  });
}
