import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { encodeSafetensors, parseSafetensors, type Tensor, tensor } from '@onnxformers/core';
import { compile, createRunner, targets } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { fromPretrained } from '../from-pretrained';
import type { RawImage } from '../images/resample';
import { towersOf } from '../parts';
import { type PipelineOptions, type PipelineTask, pipeline } from './pipeline';

/** Recorded with transformers: the same checkpoints, images and preprocessing. Rows of `hidden`: image 1, position 3. */
interface Recorded {
  readonly preprocessor: unknown;
  readonly scores?: readonly (readonly number[])[];
  readonly hidden_dims: readonly number[];
  readonly hidden: readonly number[];
  readonly pooled?: readonly (readonly number[])[];
  readonly tokenizer?: unknown;
  readonly tokenizer_config?: unknown;
  readonly labels?: readonly string[];
  /** Of a classifier on the encoder of images, whose weights are sin(3 i + 1) / 8. */
  readonly classifier_scores?: readonly (readonly number[])[];
  readonly text_features?: readonly (readonly number[])[];
}
const fixtures = fileURLToPath(new URL('../../fixtures', import.meta.url));
const { image: size, cases } = JSON.parse(readFileSync(`${fixtures}/image-pipelines.json`, 'utf8')) as {
  readonly image: { readonly width: number; readonly height: number };
  readonly cases: Readonly<Record<string, Recorded>>;
};

/** The images of the record, by a formula. */
const image = (k: number): RawImage => ({
  ...size,
  data: Uint8Array.from(
    { length: size.width * size.height * 3 },
    (_, i) => (i * (7 + 6 * k) + Math.floor(i / 123) * 29 + ((i * i) % 53)) % 256,
  ),
});
const images = [image(0), image(1)];

const bytes = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));
function filesOf(name: string): Map<string, Uint8Array> {
  const folder = `${fixtures}/${name}`;
  const own = readdirSync(folder).filter((file) => !file.startsWith('expected'));
  const { preprocessor, tokenizer, tokenizer_config } = cases[name]!;
  return new Map([
    ...own.map((file) => [file, new Uint8Array(readFileSync(`${folder}/${file}`))] as const),
    ['preprocessor_config.json', bytes(preprocessor)] as const,
    ...(tokenizer
      ? ([
          ['tokenizer.json', bytes(tokenizer)],
          ['tokenizer_config.json', bytes(tokenizer_config)],
        ] as const)
      : []),
  ]);
}

const open: { dispose(): Promise<void> }[] = [];
afterAll(() => Promise.all(open.map((one) => one.dispose())));
async function opened<T extends PipelineTask>(task: T, files: Map<string, Uint8Array>, o?: PipelineOptions) {
  const made = await pipeline(task, files, ort, o);
  open.push(made);
  return made;
}

/** Largest difference. Recorded with 7 digits; the fixtures of these models allow 2e-5 of numbers of the size of logits and hidden states. */
const off = (got: ArrayLike<number | bigint>, wanted: readonly number[]): number => {
  expect(got.length).toBe(wanted.length);
  return Math.max(...wanted.map((x, i) => Math.abs(Number(got[i]) - x)));
};
const row = ({ data, dims }: Tensor, ...at: readonly number[]) => {
  const length = dims.slice(at.length).reduce((a, b) => a * b, 1);
  const index = at.reduce((sum, i, axis) => sum * dims[axis]! + i, 0);
  return data.slice(index * length, (index + 1) * length);
};

describe('image-classification', () => {
  it.each(Object.keys(cases).filter((name) => cases[name]!.scores && !cases[name]!.labels))(
    'of %s has the scores of transformers',
    async (name) => {
      const classify = await opened('image-classification', filesOf(name));
      const all = await classify(images, { top_k: null });
      const wanted = cases[name]!.scores!;
      all.forEach((labels, i) => {
        expect(labels.map(({ score }) => score)).toEqual(labels.map(({ score }) => score).sort((a, b) => b - a));
        const byIndex = wanted[i]!.map((_, c) => labels.find(({ label }) => label === `LABEL_${c}`)!.score);
        expect(off(byIndex, wanted[i]!)).toBeLessThan(1e-5);
      });
      expect(await classify(images[1]!, { top_k: 2 })).toEqual(
        all[1]!.slice(0, 2).map(({ label, score }) => ({ label, score: expect.closeTo(score, 5) })),
      );
      expect(await classify(images)).toEqual(all.map((labels) => labels.slice(0, 5)));
    },
  );

  it('of a file needs a decoder where the platform has none', async () => {
    const raw = image(0);
    const decoded = { data: raw.data as Uint8Array, info: { ...size, channels: 3 } };
    const sharp = () => ({ toColourspace: () => ({ raw: () => ({ toBuffer: async () => decoded }) }) });
    const classify = await opened('image-classification', filesOf('vit'), { sharp });
    const file = Uint8Array.of(1, 2, 3);
    expect(await classify([file, new Blob([file]), raw])).toEqual(new Array(3).fill(await classify(raw)));
    const alone = await opened('image-classification', filesOf('vit'));
    await expect(alone(file)).rejects.toThrow(/this runtime does not decode images/);
    await expect(alone(raw, { topk: 1 } as object)).rejects.toThrow(/Did you mean "top_k"/);
    await expect(alone(7 as never)).rejects.toThrow(/image: not an image; expected \{ width, height, data \}/);
    expect(await classify('data:image/png;base64,AQID')).toEqual(await classify(raw));
  });
});

describe('image-feature-extraction', () => {
  it.each(Object.keys(cases))('of %s gives hidden states, or what the checkpoint pools', async (name) => {
    const { hidden, hidden_dims, pooled } = cases[name]!;
    const extract = await opened('image-feature-extraction', filesOf(name));
    const states = await extract(images);
    expect(states.dims).toEqual(hidden_dims);
    expect(off(row(states, 1, 3), hidden)).toBeLessThan(4e-5);
    if (pooled) {
      const vectors = await extract(images, { pool: true });
      expect(vectors.dims).toEqual([2, pooled[0]!.length]);
      pooled.forEach((wanted, i) => void expect(off(row(vectors, i), wanted)).toBeLessThan(4e-5));
    } else await expect(extract(images[0]!, { pool: true })).rejects.toThrow(/no pooler/);
  });
});

describe.each(['clip', 'siglip'])('%s', async (name) => {
  const { scores, labels, text_features } = cases[name]!;
  const files = filesOf(name);
  const classify = await opened('zero-shot-image-classification', files);

  it('compares images with labels as transformers does', async () => {
    const all = await classify(images, labels!);
    all.forEach((result, i) => {
      expect(result.map(({ score }) => score)).toEqual(result.map(({ score }) => score).sort((a, b) => b - a));
      const inOrder = labels!.map((label) => result.find((one) => one.label === label)!.score);
      expect(off(inOrder, scores![i]!)).toBeLessThan(1e-5);
    });
    const template = { hypothesis_template: 'this is a photo of {}' };
    expect(await classify(images[1]!, labels!.join(', '), template)).toEqual(
      all[1]!.map(({ label, score }) => ({ label, score: expect.closeTo(score, 5) })),
    );
    await expect(classify(images[0]!, labels!, { hypothesis_template: 'a photo' })).rejects.toThrow(/a text with \{\}/);
    await expect(classify(images[0]!, [])).rejects.toThrow(/no labels/);
  });

  it('embeds texts alone', async () => {
    const model = await fromPretrained(files);
    const { text } = towersOf(model);
    const { module, inputs, weights } = text;
    const embed = await createRunner(compile(module, { target: targets.cpu, inputs, weights }), ort);
    const texts = labels!.map((label) => `This is a photo of ${label}`);
    const batch = classify.tokenizer(texts, name === 'siglip' ? { padding: 'max_length', max_length: 16 } : {});
    const masked = 'attention_mask' in inputs;
    expect(masked).toBe(name === 'clip');
    const { pooler_output } = await embed({ ids: batch.ids, ...(masked && { attention_mask: batch.attention_mask }) });
    text_features!.forEach((wanted, i) => void expect(off(row(pooler_output!, i), wanted)).toBeLessThan(4e-5));
    await embed.dispose();
    const hidden = await opened('feature-extraction', files);
    expect((await hidden(texts)).dims).toEqual([3, batch.ids.dims[1], 32]);
  });
});

describe.each([
  ['clip', 'CLIPForImageClassification', 40],
  ['siglip', 'SiglipForImageClassification', 40],
])('a classifier on the encoder of %s', (name, architecture, dim) => {
  it('has the scores of transformers', async () => {
    const files = filesOf(name);
    const tensors = new Map<string, Tensor>();
    for (const [weight, lazy] of parseSafetensors(files.get('model.safetensors')!))
      if (weight.startsWith('vision_model.')) tensors.set(weight, await lazy.load());
    const drawn = (...dims: number[]) =>
      tensor(
        'float32',
        dims,
        Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(3 * i + 1) / 8),
      );
    tensors.set('classifier.weight', drawn(3, dim)).set('classifier.bias', drawn(3));
    const config = JSON.parse(new TextDecoder().decode(files.get('config.json'))) as object;
    const id2label = { 0: 'LABEL_0', 1: 'LABEL_1', 2: 'LABEL_2' };
    const made = new Map([
      ...files,
      ['config.json', bytes({ ...config, architectures: [architecture], id2label })] as const,
      ['model.safetensors', encodeSafetensors(tensors)] as const,
    ]);
    const classify = await opened('image-classification', made);
    const wanted = cases[name]!.classifier_scores!;
    (await classify(images)).forEach((labels, i) => {
      const byIndex = wanted[i]!.map((_, c) => labels.find(({ label }) => label === `LABEL_${c}`)!.score);
      expect(off(byIndex, wanted[i]!)).toBeLessThan(1e-5);
    });
  });
});

describe('a task on images', () => {
  it('is refused for a checkpoint that reads something else, with the tasks that fit', async () => {
    const bert = new Map(readdirSync(`${fixtures}/bert`).map((f) => [f, new Uint8Array(readFileSync(`${fixtures}/bert/${f}`))]));
    await expect(pipeline('image-feature-extraction', bert, ort)).rejects.toThrow(
      /other inputs; expected feature-extraction, got/,
    );
    await expect(pipeline('zero-shot-image-classification', bert, ort)).rejects.toThrow(/other inputs/);
    await expect(pipeline('feature-extraction', filesOf('vit'), ort)).rejects.toThrow(
      /other inputs; expected image-feature-extraction/,
    );
    await expect(pipeline('image-classification', filesOf('dinov2'), ort)).rejects.toThrow(
      /no head for it \(image_classification\); expected image-feature-extraction/,
    );
    const bare = filesOf('vit');
    bare.delete('preprocessor_config.json');
    await expect(pipeline('image-classification', bare, ort)).rejects.toThrow(/no preprocessor_config\.json/);
    await expect(fromPretrained(bare).then(towersOf)).rejects.toThrow(/not a model of texts and images/);
  });
});
