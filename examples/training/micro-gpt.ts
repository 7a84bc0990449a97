// A GPT of characters: trained on a text, then asked to go on with one.
import { compile, createRunner, targets, tensor, zoo } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { type Tensors, type Trained, train } from './adam';

const context = 32;

/** A model of these characters, and how text becomes ids. */
export function microGpt(text: string) {
  const characters = [...new Set(text)].sort();
  const model = zoo.build('model', {
    name: 'causal_lm',
    dim: 48,
    vocabSize: characters.length,
    embedding: { name: 'vocab', seqLen: context },
    stack: {
      name: 'stack',
      depth: 2,
      layers: {
        name: 'pre_norm',
        mixer: { name: 'multi_head', heads: 4 },
        feedforward: 'mlp',
      },
      norm: 'layer_norm',
    },
  });
  return { model, characters, ids: (s: string) => [...s].map((c) => characters.indexOf(c)) };
}
type MicroGpt = ReturnType<typeof microGpt>;

/** Trains on windows of the text. */
export function trainGpt({ model, ids }: MicroGpt, text: string, steps: number): Promise<Trained> {
  const [all, batch] = [ids(text), 8];
  const windows = (t: number, shift: 0 | 1) => {
    const from = Array.from({ length: batch }, (_, i) => (i * 131 + t * 17) % (all.length - context - 1));
    return tensor(
      'int64',
      [batch, context],
      from.flatMap((at) => all.slice(at + shift, at + shift + context)),
    );
  };
  const inputs = { ids: ['int64', ['batch', 'seq']], labels: ['int64', ['batch', 'seq']] } as const;
  const feeds = (t: number): Tensors => ({ ids: windows(t, 0), labels: windows(t, 1) });
  return train(model, inputs, feeds, { steps, rate: 3e-3, seed: 1 });
}

/** The text and `count` more characters, each drawn from the model's probabilities by a generator of numbers from 0 to 1. */
export async function sample(
  { model, characters, ids }: MicroGpt,
  { weights }: Trained,
  { prompt, count, random }: { readonly prompt: string; readonly count: number; readonly random: () => number },
): Promise<string> {
  const run = await createRunner(
    compile(model, { target: targets.cpu, inputs: { ids: ['int64', ['batch', 'seq']] }, weights }),
    ort,
  );
  const all = ids(prompt);
  for (let i = 0; i < count; i++) {
    const seen = all.slice(-context);
    const { logits } = await run({ ids: tensor('int64', [1, seen.length], seen) });
    const last = [...(logits!.data as Float32Array).slice(-characters.length)];
    const powers = last.map((x) => Math.exp(x - Math.max(...last)));
    all.push(drawn(powers, random() * powers.reduce((a, b) => a + b)));
  }
  await run.dispose();
  return all.map((id) => characters[id]).join('');
}

/** The first index up to which the numbers sum to more than `bound`. */
function drawn(numbers: readonly number[], bound: number): number {
  let sum = 0;
  const found = numbers.findIndex((p) => {
    sum += p;
    return sum > bound;
  });
  return found < 0 ? numbers.length - 1 : found;
}
