import { fileURLToPath } from 'node:url';
import { targets } from '@onnxformers/core';
import { openWeights } from '@onnxformers/core/node';
import { filesIn } from '@onnxformers/models/node';
import * as ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { heatMaps } from './heat-maps';
import { cosines, openObserver, rowsOf } from './inner-states';
import { attentionPicture, hiddenStatesPicture } from './pictures';

const fixture = (name: string): string => fileURLToPath(new URL(`../../packages/models/fixtures/${name}`, import.meta.url));

it.each(['bert', 'llama'])('reads what the reference implementation recorded of %s', async (name) => {
  const recorded = await openWeights(`${fixture(name)}/expected.safetensors`);
  const load = async (tensor: string) =>
    Array.from((await recorded.get(`forward/${tensor}`)!.load()).data as Float32Array, Number);
  const mask = await load('in/attention_mask');
  const [rows, seq] = recorded.get('forward/in/input_ids')!.dims as [number, number];
  // A text without padding.
  const row = Array.from({ length: rows }, (_, i) => i).find((i) => !mask.slice(i * seq, (i + 1) * seq).includes(0))!;
  const of = (data: readonly number[]): readonly number[] =>
    data.slice((row * data.length) / rows, ((row + 1) * data.length) / rows);
  const observer = await openObserver(filesIn(fixture(name)), ort, targets.cpu);
  const types = recorded.has('forward/in/token_type_ids') ? of(await load('in/token_type_ids')) : undefined;
  const { tokens, layers } = await observer.lookAt(of(await load('in/input_ids')), types);
  await observer.dispose();
  expect(tokens).toHaveLength(seq);
  // Of attention the first layer is recorded.
  const { attention, hidden } = layers[0]!;
  expect(Array.from(attention.data as Float32Array)).toEqual(of(await load('out/attentions.0')).map((x) => expect.closeTo(x, 4)));
  expect(Array.from(hidden.data as Float32Array)).toEqual(of(await load('out/hidden_states.1')).map((x) => expect.closeTo(x, 4)));
});

it('refuses a model that is not one stack of texts', async () => {
  await expect(openObserver(filesIn(fixture('t5')), ort, targets.cpu)).rejects.toThrow(/model: it is not one stack of layers/);
});

it('draws a map for each head, and one for each layer', async () => {
  const observer = await openObserver(filesIn(fixture('bert')), ort, targets.cpu);
  const states = await observer.look('the old river');
  await observer.dispose();
  expect(states.tokens).toEqual(['[CLS]', 'the', 'old', 'river', '[SEP]']);
  expect(attentionPicture(states, 1).match(/>head \d</g)).toEqual([1, 2, 3, 4, 5].map((n) => `>head ${n}<`));
  expect(hiddenStatesPicture(states).match(/>after layer \d</g)).toEqual(['>after layer 1<', '>after layer 2<']);
  for (const weights of rowsOf(states.layers[1]!.attention, 4)) expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
});

it('draws a number by its shade, at its place', () => {
  const picture = heatMaps({
    title: 'a < b',
    labels: ['x&y', 'z'],
    maps: [
      {
        title: 'm',
        values: [
          [0, 1],
          [0.5, 7],
        ],
      },
    ],
    range: [0, 1],
  });
  expect(picture).toContain('<path class="fields" fill-opacity="1" d="M14 0h14v14h-14zM14 14h14v14h-14z"/>');
  expect(picture).toContain('<path class="fields" fill-opacity="0.5" d="M0 14h14v14h-14z"/>');
  expect(picture).toContain('a &lt; b');
  expect(picture).toContain('x&amp;y');
});

it('compares directions, not lengths', () => {
  const [[own, across], [, opposite]] = cosines([
    [3, 4],
    [8, -6],
    [0, 0],
  ]) as [number[], number[]];
  expect([own, across]).toEqual([expect.closeTo(1), expect.closeTo(0)]);
  expect(opposite).toBeCloseTo(1);
});
