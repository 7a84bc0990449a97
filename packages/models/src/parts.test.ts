import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { encodeSafetensors, parseSafetensors, type Tensor } from '@onnxformers/core';
import { compile, createRunner, targets } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { fromPretrained } from './from-pretrained';
import { fromPretrained as fromFolder } from './node';
import { partsOf, towersOf } from './parts';
import type { Compilable } from './pretrained';
import { allowed, readCase } from './replay/case';
import { difference } from './replay/compare';

const read = (name: string, file: string) => new Uint8Array(readFileSync(`${folderOf(name)}/${file}`));
const folderOf = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

async function outputsOf({ module, inputs, weights }: Compilable, feeds: Readonly<Record<string, Tensor>>) {
  const run = await createRunner(compile(module, { target: targets.cpu, inputs, weights }), ort);
  const outputs = await run(Object.fromEntries(Object.keys(inputs).map((name) => [name, feeds[name]!])));
  await run.dispose();
  return outputs as Readonly<Record<string, Tensor>>;
}

/** The files of one part of a checkpoint, as the reference implementation writes them. */
async function partFiles(
  name: string,
  section: string | undefined,
  architecture: string,
  keep: RegExp,
): Promise<Map<string, Uint8Array>> {
  const whole = JSON.parse(new TextDecoder().decode(read(name, 'config.json'))) as Record<string, object>;
  const config = section ? whole[section] : whole;
  const own = new Map<string, Tensor>();
  for (const [weight, lazy] of parseSafetensors(read(name, 'model.safetensors')))
    if (keep.test(weight)) own.set(weight, await lazy.load());
  return new Map([
    ['config.json', new TextEncoder().encode(JSON.stringify({ ...config, architectures: [architecture] }))],
    ['model.safetensors', encodeSafetensors(own)],
  ]);
}

describe.each([
  ['clip', 'CLIP', 'WithProjection'],
  ['siglip', 'Siglip', ''],
] as const)('the towers of %s', (name, prefix, projected) => {
  it.each([
    ['text', /^text_/],
    ['vision', /^vi(sion|sual)_/],
  ] as const)('%s: alone and from the whole model have the recorded outputs', async (tower, weights) => {
    const recorded = await readCase(folderOf(name));
    const { in: given, out } = recorded.runs.find((run) => run.name === 'forward')!;
    const feeds = {
      ids: given.get('input_ids')!,
      pixels: given.get('pixel_values')!,
      ...(given.has('attention_mask') && { attention_mask: given.get('attention_mask')! }),
    };
    const Tower = `${tower[0]!.toUpperCase()}${tower.slice(1)}`;
    const files = await partFiles(name, `${tower}_config`, `${prefix}${Tower}Model${projected}`, weights);
    const alone = await fromPretrained(files);
    const whole = towersOf(await fromFolder(folderOf(name)))[tower];
    expect([...alone.weights.keys()].sort()).toEqual([...whole.weights.keys()].sort());
    expect(alone.inputs).toEqual(whole.inputs);
    const outputs = await outputsOf(alone, feeds);
    expect(await outputsOf(whole, feeds)).toEqual(outputs);
    const mask = tower === 'text' ? given.get('attention_mask') : undefined;
    const check = (ours: string, theirs: string) => {
      const wanted = out.get(`${tower}_${theirs}`)!;
      expect(difference(outputs[ours]!, wanted, ours === 'hidden_states' ? mask : undefined).largest).toBeLessThan(
        allowed(recorded, `${tower}_${theirs}`, 'float32'),
      );
    };
    check('hidden_states', 'last_hidden_state');
    check('pooler_output', 'pooler_output');
  });
});

describe('the towers of CLIP without projections', () => {
  it('pool the norm of the class token, and the hidden state of the first end token', async () => {
    const { runs } = await readCase(folderOf('clip'));
    const { in: given, out } = runs.find((run) => run.name === 'forward')!;
    const text = await fromPretrained(await partFiles('clip', 'text_config', 'CLIPTextModel', /^text_model/));
    const feeds = { ids: given.get('input_ids')!, attention_mask: given.get('attention_mask')! };
    const { pooler_output } = await outputsOf(text, feeds);
    const [batch, seq] = feeds.ids.dims as [number, number];
    const hidden = out.get('text_last_hidden_state')!;
    for (let b = 0; b < batch; b++) {
      const end = Array.from({ length: seq }, (_, i) => Number(feeds.ids.data[b * seq + i])).indexOf(62);
      expect(end).toBeGreaterThan(0);
      for (let c = 0; c < 32; c++)
        expect(Number(pooler_output!.data[b * 32 + c])).toBeCloseTo(Number(hidden.data[(b * seq + end) * 32 + c]), 4);
    }
    const vision = await fromPretrained(await partFiles('clip', 'vision_config', 'CLIPVisionModel', /^vision_model/));
    const pooled = (await outputsOf(vision, { pixels: given.get('pixel_values')! })).pooler_output!;
    const norm = (part: string) => vision.weights.get(`pool.norm.${part}`)!.load();
    const [weight, bias] = [(await norm('weight')).data, (await norm('bias')).data];
    const rows = out.get('vision_last_hidden_state')!;
    const [, positions, dim] = rows.dims as [number, number, number];
    const token = Array.from({ length: dim }, (_, c) => Number(rows.data[positions * dim + c]));
    const mean = token.reduce((a, b) => a + b, 0) / dim;
    const scale = 1 / Math.sqrt(token.reduce((sum, x) => sum + (x - mean) ** 2, 0) / dim + 1e-5);
    token.forEach((x, c) => {
      const wanted = (x - mean) * scale * Number(weight[c]) + Number(bias[c]);
      expect(Number(pooled.data[dim + c])).toBeCloseTo(wanted, 4);
    });
  });

  it('are not those of another model', async () => {
    expect(() => towersOf({} as never)).toThrow(/the result of fromPretrained/);
    const bert = await fromFolder(folderOf('bert'));
    expect(() => towersOf(bert)).toThrow(/not a model of texts and images; expected dual_encoder, got masked_lm/);
  });
});

describe('the encoder of T5 alone', () => {
  it('has the recorded hidden states', async () => {
    const recorded = await readCase(folderOf('t5'));
    const { in: given, out } = recorded.runs.find((run) => run.name === 'forward')!;
    const encoder = await fromPretrained(await partFiles('t5', undefined, 'T5EncoderModel', /^(shared|encoder)\./));
    expect(encoder.config.name).toBe('encoder');
    const feeds = { ids: given.get('input_ids')!, attention_mask: given.get('attention_mask')! };
    const { hidden_states } = await outputsOf(encoder, feeds);
    const off = difference(hidden_states!, out.get('encoder_last_hidden_state')!, feeds.attention_mask);
    expect(off.largest).toBeLessThan(allowed(recorded, 'encoder_last_hidden_state', 'float32'));
    expect(() => partsOf(encoder)).toThrow(/not an encoder-decoder/);
    await expect(fromPretrained(await partFiles('t5', undefined, 'T5Model', /^(shared|encoder)\./))).rejects.toThrow(
      /"decoder\.[\w.]+": missing in the checkpoint/,
    );
  });
});
