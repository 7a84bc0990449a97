import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { encodeSafetensors, parseSafetensors, type Tensor, tensor } from '@onnxformers/core';
import { compile, createRunner, targets } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { fetchFile } from '../files';
import { fromPretrained } from '../from-pretrained';
import { readCase } from '../replay/case';
import { type PipelineTask, pipeline } from './pipeline';

const folderOf = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
const filesOf = (name: string): Map<string, Uint8Array> =>
  new Map(readdirSync(folderOf(name)).map((file) => [file, new Uint8Array(readFileSync(`${folderOf(name)}/${file}`))]));
const bytes = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));
const json = (files: Map<string, Uint8Array>, name: string) => JSON.parse(new TextDecoder().decode(files.get(name)));

const bert = filesOf('bert');
const llama = filesOf('llama');

/** BERT with another head, whose weights are numbers of their own. */
async function withHead(architecture: string, weights: Record<string, readonly number[]>, config: object = {}) {
  const tensors = new Map<string, Tensor>();
  for (const [name, lazy] of parseSafetensors(bert.get('model.safetensors')!))
    if (!name.startsWith('cls.')) tensors.set(name, await lazy.load());
  for (const [name, dims] of Object.entries(weights)) {
    const size = dims.reduce((a, b) => a * b, 1);
    tensors.set(
      name,
      tensor(
        'float32',
        [...dims],
        Float32Array.from({ length: size }, (_, i) => Math.sin(3 * i + name.length)),
      ),
    );
  }
  return new Map([
    ...bert,
    ['config.json', bytes({ ...json(bert, 'config.json'), ...config, architectures: [architecture] })] as const,
    ['model.safetensors', encodeSafetensors(tensors)] as const,
  ]);
}

const open: { dispose(): Promise<void> }[] = [];
afterAll(() => Promise.all(open.map((one) => one.dispose())));
async function opened<T extends PipelineTask>(task: T, files: Map<string, Uint8Array>) {
  const made = await pipeline(task, files, ort);
  open.push(made);
  return made;
}
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

describe('feature-extraction', async () => {
  const embed = await opened('feature-extraction', bert);
  const texts = ['the river runs', 'the sea'];

  it('gives hidden states, and vectors of them that padding does not change', async () => {
    const hidden = await embed(texts);
    expect(hidden.dims).toEqual([2, 5, 40]);
    const both = await embed(texts, { pooling: 'mean' });
    const alone = await embed('the sea');
    const expected = Array.from({ length: 40 }, (_, i) => sum([0, 1, 2, 3].map((row) => Number(alone.data[row * 40 + i]))) / 4);
    Array.from(both.data.slice(40), Number).forEach((x, i) => expect(x).toBeCloseTo(expected[i]!, 4));
    const [cls, last] = [await embed(texts, { pooling: 'cls' }), await embed(texts, { pooling: 'last_token' })];
    Array.from(cls.data.slice(40), Number).forEach((x, i) => expect(x).toBeCloseTo(Number(alone.data[i]), 4));
    Array.from(last.data.slice(40), Number).forEach((x, i) => expect(x).toBeCloseTo(Number(alone.data[120 + i]), 4));
    const unit = await embed(texts, { pooling: 'mean', normalize: true });
    expect(Math.hypot(...Array.from(unit.data.slice(0, 40), Number))).toBeCloseTo(1, 5);
    await expect(embed(texts, { pooling: 'avg' as 'mean' })).rejects.toThrow(/feature-extraction: pooling/);
  });

  it('pools as the checkpoint says', async () => {
    await expect(embed('the sea', { pooling: 'auto' })).rejects.toThrow(/does not say how it pools/);
    const stated = new Map([
      ...bert,
      [
        '1_Pooling/config.json',
        bytes({ word_embedding_dimension: 40, pooling_mode_mean_tokens: true, pooling_mode_cls_token: false }),
      ],
      ['modules.json', bytes([{ type: 'sentence_transformers.models.Normalize' }])],
    ]);
    const auto = await opened('feature-extraction', stated as Map<string, Uint8Array>);
    const wanted = await embed(texts, { pooling: 'mean', normalize: true });
    expect((await auto(texts, { pooling: 'auto' })).data).toEqual(wanted.data);
  });
});

describe('fill-mask', async () => {
  const fill = await opened('fill-mask', bert);

  it('gives the likeliest tokens with the probabilities of the logits', async () => {
    const [one, two] = await fill('the river [MASK] .', { top_k: 2 });
    const { module, inputs, weights } = await fromPretrained(bert);
    const run = await createRunner(compile(module, { target: targets.cpu, inputs, weights }), ort);
    const ids = fill.tokenizer('the river [MASK] .');
    const logits = Array.from((await run({ ...ids } as never)).logits!.data.slice(3 * 93, 4 * 93), Number);
    await run.dispose();
    const order = logits.map((x, id) => ({ x, id })).sort((a, b) => b.x - a.x);
    expect([one!.token, two!.token]).toEqual(order.slice(0, 2).map(({ id }) => id));
    expect(one!.score).toBeCloseTo(Math.exp(order[0]!.x) / sum(logits.map(Math.exp)), 5);
    expect(one!.sequence).toBe(fill.tokenizer.decode([63, 64, one!.token, 57]));
    expect(one!.token_str).toBe(fill.tokenizer.tokenOf(one!.token));
  });

  it('asks for one gap in each text', async () => {
    expect((await fill(['[MASK] runs', 'a long [MASK]'])).map((list) => list.length)).toEqual([5, 5]);
    await expect(fill(['[MASK]', 'no gap'])).rejects.toThrow(/text 1.*\[MASK\] once.*0 times/s);
  });
});

describe('classification', () => {
  it('of texts has the shapes of transformers.js', async () => {
    const id2label = { 0: 'low', 1: 'middle', 2: 'high' };
    const files = await withHead(
      'BertForSequenceClassification',
      { 'classifier.weight': [3, 40], 'classifier.bias': [3] },
      { id2label },
    );
    const withPooler = await withHead(
      'BertForSequenceClassification',
      {
        'classifier.weight': [3, 40],
        'classifier.bias': [3],
        'bert.pooler.dense.weight': [40, 40],
        'bert.pooler.dense.bias': [40],
      },
      { id2label },
    );
    await expect(pipeline('text-classification', files, ort)).rejects.toThrow(/pooler/);
    const classify = await opened('text-classification', withPooler);
    const all = await classify('the river runs', { top_k: null });
    expect(sum(all.map(({ score }) => score))).toBeCloseTo(1, 5);
    expect(all.map(({ label }) => label).sort()).toEqual(['high', 'low', 'middle']);
    expect(await classify('the river runs')).toEqual(all.slice(0, 1));
    const both = await classify(['the river runs', 'sea'], { top_k: 2 });
    both[0]!.forEach(({ label, score }, i) => {
      expect(label).toBe(all[i]!.label);
      expect(score).toBeCloseTo(all[i]!.score, 4);
    });
    expect((await classify(['the river runs', 'sea'])).map(({ label }) => label)).toEqual(both.map(([first]) => first!.label));
  });

  it('of tokens leaves out special tokens and ignored labels', async () => {
    const files = await withHead(
      'BertForTokenClassification',
      { 'classifier.weight': [2, 40], 'classifier.bias': [2] },
      { id2label: { 0: 'O', 1: 'THING' } },
    );
    const label = await opened('ner', files);
    const all = await label('the old river runs', { ignore_labels: [] });
    expect(all.map(({ index, word }) => `${index} ${word}`)).toEqual(['1 the', '2 old', '3 river', '4 runs']);
    expect(await label('the old river runs')).toEqual(all.filter(({ entity }) => entity !== 'O'));
    expect((await label(['the old river runs', 'sea'], { ignore_labels: [] }))[1]).toHaveLength(1);
  });

  it('answers a question with a span of the context', async () => {
    const files = await withHead('BertForQuestionAnswering', { 'qa_outputs.weight': [2, 40], 'qa_outputs.bias': [2] });
    const answer = await opened('question-answering', files);
    const context = 'the river runs to the sea';
    const spans = await answer('where', context, { top_k: 100, max_answer_len: 6 });
    expect(spans).toHaveLength(21);
    expect(sum(spans.map(({ score }) => score))).toBeLessThanOrEqual(1);
    for (const span of spans) expect(context).toContain(span.answer);
    expect(await answer('where', context)).toEqual(spans[0]);
    expect(await answer('where', context, { top_k: 50, max_answer_len: 1 })).toHaveLength(6);
  });
});

describe('zero-shot-classification', () => {
  const heads = {
    'classifier.weight': [2, 40],
    'classifier.bias': [2],
    'bert.pooler.dense.weight': [40, 40],
    'bert.pooler.dense.bias': [40],
  };

  it('ranks labels by whether the text entails them', async () => {
    const inference = { label2id: { entailment: 1, contradiction: 0 }, id2label: { 0: 'contradiction', 1: 'entailment' } };
    const files = await withHead('BertForSequenceClassification', heads, inference);
    const classify = await opened('zero-shot-classification', files);
    const labels = ['river', 'sea', 'mat'];
    const one = await classify('the river runs', labels);
    expect([...one.labels].sort()).toEqual([...labels].sort());
    expect(sum(one.scores)).toBeCloseTo(1, 5);
    expect(one.scores).toEqual([...one.scores].sort((a, b) => b - a));
    const [same] = await classify(['the river runs'], 'river, sea, mat', { multi_label: true });
    expect(same!.labels.length).toBe(3);
    expect(Math.max(...same!.scores)).toBeLessThan(1);
    await expect(classify('x', labels, { hypothesis_template: 'no place' })).rejects.toThrow(/a text with \{\}/);
  });

  it('needs a model of inference', async () => {
    const files = await withHead('BertForSequenceClassification', heads);
    await expect(pipeline('zero-shot-classification', files, ort)).rejects.toThrow(/label2id.*natural language inference/s);
  });
});

describe('text-generation', async () => {
  const write = await opened('text-generation', llama);

  it('gives the tokens that the reference gave', async () => {
    const { runs } = await readCase(folderOf('llama'));
    const sequences = runs.find(({ name }) => name === 'generate')!.out.get('sequences')!;
    const all = Array.from(sequences.data, Number);
    const prompt = all.slice(0, all.length - 24);
    // The prompt is ids that no text has: its tokens are handed over as they are.
    const ids = {
      ids: tensor('int64', [1, prompt.length], prompt),
      attention_mask: tensor(
        'int64',
        [1, prompt.length],
        prompt.map(() => 1),
      ),
    };
    const [{ generated_text }] = (await (await generatorOf(ids))('', { max_new_tokens: 24 })) as [{ generated_text: string }];
    const skip = { skip_special_tokens: true };
    expect(generated_text).toBe(write.tokenizer.decode(all, skip).slice(write.tokenizer.decode(prompt, skip).length));
  });

  it('pads several prompts without changing what is written', async () => {
    const [long, short] = ['the river runs to the sea', 'we'];
    const both = await write([long, short], { max_new_tokens: 7 });
    expect(both[0]).toEqual(await write(long, { max_new_tokens: 7 }));
    expect(both[1]).toEqual(await write(short, { max_new_tokens: 7 }));
  });

  it('draws the same tokens for the same seed', async () => {
    const draw = { do_sample: true, max_new_tokens: 9, temperature: 2, top_k: 0, return_full_text: false };
    const [first] = await write('the river', { ...draw, seed: 5 });
    expect(await write('the river', { ...draw, seed: 5 })).toEqual([first]);
    const several = await write('the river', { ...draw, seed: 7, num_return_sequences: 3 });
    expect(new Set(several.map(({ generated_text }) => generated_text)).size).toBe(3);
  });

  it('answers a chat', async () => {
    const chat = [{ role: 'user', content: 'how long is the river' }];
    const [{ generated_text }] = (await write(chat, { max_new_tokens: 4 })) as [
      { generated_text: { role: string; content: string }[] },
    ];
    expect(generated_text.map(({ role }) => role)).toEqual(['user', 'assistant']);
  });

  async function generatorOf(ids: object) {
    const { textGeneration } = await import('./text-generation');
    const tokenizer = Object.assign(() => ids, write.tokenizer) as unknown as typeof write.tokenizer;
    const place = { ort, target: targets.cpu, dtype: 'float32' } as const;
    const parts = { model: write.model, part: write.model, sharp: undefined, read: fetchFile };
    const made = await textGeneration.open({ ...parts, tokenizer, place });
    open.push(made);
    return (text: string, o: object) => made.call(text, { ...o, return_full_text: false });
  }
});

describe('texts from texts', async () => {
  const t5 = filesOf('t5');
  it('are named after the task, with the prefix that the checkpoint wants', async () => {
    const config = { ...json(t5, 'config.json'), task_specific_params: { summarization: { prefix: 'the ' } } };
    const prefixed = new Map([
      ...t5,
      ['config.json', bytes(config)],
      ['generation_config.json', bytes({ ...json(t5, 'generation_config.json'), num_beams: 4 })],
    ]);
    const summarize = await opened('summarization', prefixed as Map<string, Uint8Array>);
    const translate = await opened('translation', t5);
    expect([summarize.ignored, translate.ignored]).toEqual([['num_beams: 4'], []]);
    const [{ summary_text }] = (await summarize('river runs', { max_new_tokens: 8 })) as [{ summary_text: string }];
    const both = await translate(['the river runs', 'we sat'], { max_new_tokens: 8 });
    expect(both[0]!.translation_text).toBe(summary_text);
    expect(both).toHaveLength(2);
    await expect(translate('the', { max_newtokens: 3 } as never)).rejects.toThrow(/Did you mean "max_new_tokens"/);
  });
});

describe.each(['float16', 'bfloat16'] as const)('in %s', (dtype) => {
  it('results are numbers near those of float32', async () => {
    const pair = async <T extends PipelineTask>(task: T, files: Map<string, Uint8Array>) => {
      const made = [await pipeline(task, files, ort), await pipeline(task, files, ort, { dtype })] as const;
      open.push(...made);
      return made;
    };
    // Weights and results with 11 or 8 bits, through a few layers of numbers up to about 3.
    const near = { float16: 0.03, bfloat16: 0.25 }[dtype];
    const [embed, embedShort] = await pair('feature-extraction', bert);
    const [long, short] = [await embed('the river runs'), await embedShort('the river runs')];
    expect(short.dtype).toBe('float32');
    for (const [i, x] of short.data.entries()) expect(Math.abs(Number(x) - Number(long.data[i]))).toBeLessThan(near);
    const [fill, fillShort] = await pair('fill-mask', bert);
    const [best] = await fill('the [MASK] runs', { top_k: 1 });
    const all = await fillShort('the [MASK] runs', { top_k: null as never });
    const same = all.find((one) => one.token === best!.token)!;
    expect(Math.abs(same.score - best!.score)).toBeLessThan(near * best!.score);
  });

  it('a decoder writes tokens whose logits are near the largest', async () => {
    const [write, writeShort] = [
      await pipeline('text-generation', llama, ort),
      await pipeline('text-generation', llama, ort, { dtype }),
    ];
    open.push(write, writeShort);
    const [long] = await write('the river', { max_new_tokens: 1 });
    const [short] = await writeShort('the river', { max_new_tokens: 1 });
    expect(short!.generated_text).toBe(long!.generated_text);
  });
});

describe('a task', () => {
  it('that is unknown or that the checkpoint is not for is refused', async () => {
    await expect(pipeline('fill-mas' as 'fill-mask', bert, ort)).rejects.toThrow(/unknown task.*Did you mean "fill-mask"/s);
    await expect(pipeline('text-generation', bert, ort)).rejects.toThrow(/no head for it.*feature-extraction, fill-mask/s);
    await expect(pipeline('fill-mask', bert, ort, { device: 'gpu' as 'cpu' })).rejects.toThrow(/pipeline: device/);
    const untitled = new Map(bert);
    untitled.delete('tokenizer.json');
    await expect(pipeline('fill-mask', untitled, ort)).rejects.toThrow(/no tokenizer\.json/);
  });
});
