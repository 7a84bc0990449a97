import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeSafetensors, parseSafetensors, type Tensor, tensor } from '@onnxformers/core';
import { compile, createRunner, targets, zoo } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { filesAt } from './files';
import { fromPretrained } from './from-pretrained';
import { fromPretrained as fromFolder, toPretrained } from './node';

const folderOf = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
/** The files of a fixture without those of the record. */
function filesOf(name: string): Map<string, Uint8Array> {
  const folder = folderOf(name);
  const own = readdirSync(folder).filter((file) => !file.startsWith('expected'));
  return new Map(own.map((file) => [file, new Uint8Array(readFileSync(`${folder}/${file}`))]));
}
const config = (files: Map<string, Uint8Array>) =>
  JSON.parse(new TextDecoder().decode(files.get('config.json'))) as Record<string, unknown>;
const withConfig = (files: Map<string, Uint8Array>, change: Record<string, unknown>) =>
  new Map([...files, ['config.json', new TextEncoder().encode(JSON.stringify({ ...config(files), ...change }))]]);
async function tensorsOf(files: Map<string, Uint8Array>): Promise<Map<string, Tensor>> {
  const found = new Map<string, Tensor>();
  for (const [name, lazy] of parseSafetensors(files.get('model.safetensors')!)) found.set(name, await lazy.load());
  return found;
}
const withTensors = (files: Map<string, Uint8Array>, tensors: Iterable<readonly [string, Tensor]>) =>
  new Map([...files, ['model.safetensors', encodeSafetensors(tensors)]]);

const bert = filesOf('bert');
const gpt2 = filesOf('gpt2');
const llama = filesOf('llama');

async function logitsOf(model: Awaited<ReturnType<typeof fromPretrained>>, ids: readonly number[]): Promise<number[]> {
  const { module, inputs, weights } = model;
  const run = await createRunner(compile(module, { target: targets.cpu, inputs, weights }), ort);
  const row = (x: readonly number[]) => tensor('int64', [1, x.length], x);
  const types = 'token_type_ids' in inputs ? { token_type_ids: row(ids.map(() => 0)) } : {};
  const outputs = await run({ ids: row(ids), attention_mask: row(ids.map(() => 1)), ...types });
  await run.dispose();
  return Array.from((outputs.logits ?? outputs.start_logits ?? outputs.hidden_states)!.data as Float32Array);
}
const ids = [5, 17, 2, 11];

describe('a checkpoint', () => {
  it('gives the same model from a folder, from memory, from blobs and from ranges of addresses', async () => {
    const expected = await logitsOf(await fromFolder(folderOf('bert')), ids);
    expect(await logitsOf(await fromPretrained(bert), ids)).toEqual(expected);
    const blobs = new Map([...bert].map(([name, bytes]) => [name, new Blob([new Uint8Array(bytes)])]));
    expect(await logitsOf(await fromPretrained(blobs), ids)).toEqual(expected);
    let sent = 0;
    const server = createServer(({ url, headers: { range = '' } }, response) => {
      const bytes = bert.get(url!.slice(1));
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range) ?? [];
      if (!bytes) return response.writeHead(404).end();
      const part = bytes.subarray(Number(from), Number(to) + 1);
      sent += part.length;
      return response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${bytes.length}` }).end(part);
    });
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    try {
      const { port } = server.address() as AddressInfo;
      const model = await fromPretrained(filesAt(`http://127.0.0.1:${port}`));
      expect(sent).toBeLessThan(bert.get('model.safetensors')!.length / 2);
      expect(await logitsOf(model, ids)).toEqual(expected);
      await expect(fromPretrained(filesAt(`http://127.0.0.1:${port}/nothing`))).rejects.toThrow(/no config\.json/);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('is refused by a server that ignores ranges', async () => {
    const whole = (async () => new Response(new Uint8Array(3))) as typeof fetch;
    await expect(fromPretrained(filesAt('http://host/x', whole))).rejects.toThrow(/did not answer with a range.*got 200/);
  });

  it('is refused by a server that answers with another range', async () => {
    const start = bert.get('config.json')!;
    const headers = { 'content-range': `bytes 0-1/${start.length}` };
    const always = (async () => new Response(new Uint8Array(start.subarray(0, 2)), { status: 206, headers })) as typeof fetch;
    const source = (await filesAt('http://host/x', always).open('config.json'))!;
    expect(await source.read(0, 2)).toEqual(start.subarray(0, 2));
    await expect(source.read(2, 2)).rejects.toThrow(/did not answer with a range.*got 206 bytes 0-1/);
  });

  it('is an ordinary module: a config with another mechanism has the same weights', async () => {
    const model = await fromPretrained(gpt2);
    const stack = model.config.stack as { layers: { mixer: object } };
    const windowed = zoo.parse('model', {
      ...model.config,
      stack: {
        ...stack,
        layers: { ...stack.layers, mixer: { ...stack.layers.mixer, attention: { name: 'local', window: 2, causal: true } } },
      },
    });
    const [all, near] = [await logitsOf(model, ids), await logitsOf({ ...model, module: windowed }, ids)];
    expect(near.slice(0, 2 * 83)).toEqual(all.slice(0, 2 * 83).map((x) => expect.closeTo(x, 4)));
    expect(near.slice(-83)).not.toEqual(all.slice(-83).map((x) => expect.closeTo(x, 2)));
  });

  it('is read in bfloat16 and float16', async () => {
    const model = await fromPretrained(filesOf('qwen3'));
    expect(model.weights.get('embedding.weight')!.dtype).toBe('bfloat16');
  });

  it('may be in several files; one that is missing is named', async () => {
    const mistral = filesOf('mistral');
    expect((await fromPretrained(mistral)).report.storedAs.size).toBeGreaterThan(15);
    mistral.delete('model-00002-of-00004.safetensors');
    await expect(fromPretrained(mistral)).rejects.toThrow(
      /no model-00002-of-00004\.safetensors, which model\.safetensors\.index\.json names/,
    );
  });
});

describe('weights', () => {
  it('that are missing are named with the nearest', async () => {
    const tensors = await tensorsOf(bert);
    const name = 'bert.encoder.layer.1.attention.self.key.weight';
    const renamed = [...tensors].map(([n, t]) => [n === name ? name.replace('self', 'sefl') : n, t] as const);
    await expect(fromPretrained(withTensors(bert, renamed))).rejects.toThrow(
      /weight "bert\.encoder\.layer\.1\.attention\.self\.key\.weight": missing in the checkpoint.*nearest unused name is "bert\.encoder\.layer\.1\.attention\.sefl\.key\.weight"/,
    );
  });

  it('that are unknown are named, unless they belong to another head', async () => {
    const more = await tensorsOf(bert);
    more.set('bert.decoder.weight', tensor('float32', [1], [1]));
    await expect(fromPretrained(withTensors(bert, more))).rejects.toThrow(/weight "bert\.decoder\.weight": unknown/);
    const { report } = await fromPretrained(bert, { task: 'base' });
    expect(report.unused.length).toBeGreaterThan(3);
    expect(report.unused.every((name) => name.startsWith('cls.'))).toBe(true);
  });

  it('of other dims are refused', async () => {
    const wrong = await tensorsOf(bert);
    wrong.set('cls.predictions.bias', tensor('float32', [2], [1, 2]));
    await expect(fromPretrained(withTensors(bert, wrong))).rejects.toThrow(
      /weight "head\.bias": does not fit; expected dims \[93\], got \[2\]/,
    );
  });

  it('have old names, no prefix, and buffers beside them', async () => {
    const old = [...(await tensorsOf(bert))].map(([name, t]) => {
      const now = name
        .replace(/^bert\./, '')
        .replace(/LayerNorm\.weight$/, 'LayerNorm.gamma')
        .replace(/LayerNorm\.bias$/, 'LayerNorm.beta');
      return [now, t] as const;
    });
    const buffers = [['embeddings.position_ids', tensor('int64', [1, 2], [0, 1])]] as const;
    const model = await fromPretrained(withTensors(bert, [...old, ...buffers]));
    expect(model.report.ignored).toEqual(['embeddings.position_ids']);
    expect(await logitsOf(model, ids)).toEqual(await logitsOf(await fromPretrained(bert), ids));
    const masks = [...(await tensorsOf(gpt2))].map(([name, t]) => [name.replace(/^transformer\./, ''), t] as const);
    const oldest = await fromPretrained(withTensors(gpt2, [...masks, ['h.0.attn.bias', tensor('float32', [1, 1, 1, 1], [1])]]));
    expect(oldest.report.ignored).toEqual(['h.0.attn.bias']);
    expect(await logitsOf(oldest, ids)).toEqual(await logitsOf(await fromPretrained(gpt2), ids));
  });

  it('of a tied head are stored once or twice; if they differ, both are used', async () => {
    const tensors = await tensorsOf(gpt2);
    const table = tensors.get('transformer.wte.weight')!;
    const twice = await fromPretrained(withTensors(gpt2, [...tensors, ['lm_head.weight', table]]));
    expect(twice.config.tied).toBe(true);
    expect(twice.report.ignored).toEqual(['lm_head.weight']);
    const halved = { ...table, data: Float32Array.from(table.data as Float32Array, (x) => x / 2) };
    const other = await fromPretrained(withTensors(gpt2, [...tensors, ['lm_head.weight', halved]]));
    expect(other.config.tied).toBe(false);
    const [whole, half] = [await logitsOf(twice, ids), await logitsOf(other, ids)];
    expect(half).toEqual(whole.map((x) => expect.closeTo(x / 2, 4)));
  });

  it('of a head that is not tied must be there', async () => {
    const tensors = await tensorsOf(llama);
    tensors.delete('lm_head.weight');
    await expect(fromPretrained(withTensors(llama, tensors))).rejects.toThrow(/weight "lm_head\.weight": missing/);
    const tied = await fromPretrained(withTensors(withConfig(llama, { tie_word_embeddings: true }), tensors));
    expect(tied.config.tied).toBe(true);
  });
});

describe('toPretrained', () => {
  it.each(['bert-base_model', 'gpt2', 'llama', 'qwen3', 't5', 'vit', 'gpt_oss', 'cohere-qk_norm', 'opt-post_norm'])(
    'writes %s with the same bytes in each tensor',
    async (name) => {
      const folder = mkdtempSync(join(tmpdir(), 'pretrained-'));
      try {
        await toPretrained(await fromFolder(folderOf(name)), folder);
        const read = (at: string) => parseSafetensors(new Uint8Array(readFileSync(`${at}/model.safetensors`)));
        const [was, is] = [read(folderOf(name)), read(folder)];
        expect([...is.keys()].sort()).toEqual([...was.keys()].sort());
        for (const [tensor, lazy] of was) expect(await is.get(tensor)!.load(), tensor).toEqual(await lazy.load());
        expect((await fromFolder(folder)).config).toEqual((await fromFolder(folderOf(name))).config);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  it('copies the tokenizer and the settings of generation', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pretrained-'));
    try {
      await toPretrained(await fromFolder(folderOf('llama')), folder);
      for (const name of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
        expect(readFileSync(`${folder}/${name}`), name).toEqual(readFileSync(`${folderOf('llama')}/${name}`));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('writes changed weights', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pretrained-'));
    try {
      const bias = tensor('float32', [40], new Array(40).fill(0.5));
      await toPretrained(await fromPretrained(gpt2), folder, { weights: new Map([['stack.norm.bias', bias]]) });
      expect((await (await fromFolder(folder)).weights.get('stack.norm.bias')!.load()).data).toEqual(bias.data);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('a config', () => {
  it('of an unknown family names the nearest and the guide', async () => {
    await expect(fromPretrained(withConfig(bert, { model_type: 'brt' }))).rejects.toThrow(
      /model_type: a family that is not known;.*The nearest is "bert".*"Add a family"/,
    );
  });

  it('may be of a family of one’s own', async () => {
    const { families } = await import('./families/index');
    const own = { ...families.find((f) => f.modelTypes.includes('bert'))!, modelTypes: ['my_bert'] };
    const model = await fromPretrained(withConfig(bert, { model_type: 'my_bert' }), { families: [own] });
    expect(model.modelType).toBe('my_bert');
  });

  it.each([
    [{ hidden_size: 'wide' }, /config\.json: hidden_size: wrong value; expected an integer, got "wide"/],
    [{ hidden_size: null }, /config\.json: hidden_size: missing; expected an integer/],
    [{ hidden_act: 'swoosh' }, /hidden_act: an activation that is not known: "swoosh"/],
    [{ architectures: ['BertForSpeech'] }, /architectures: an architecture with an unknown head.*State the task/],
    [{ architectures: ['BertForImageClassification'] }, /no head for the task "image_classification"/],
  ])('%o is refused', async (change, message) => {
    await expect(fromPretrained(withConfig(bert, change))).rejects.toThrow(message);
  });

  it('that is damaged, and options that do not exist, are refused', async () => {
    const damaged = new Map([...bert, ['config.json', new TextEncoder().encode('{')]]);
    await expect(fromPretrained(damaged)).rejects.toThrow(/config\.json: not JSON/);
    const list = new Map([...bert, ['config.json', new TextEncoder().encode('[]')]]);
    await expect(fromPretrained(list)).rejects.toThrow(/config\.json: not a config; expected an object/);
    await expect(fromPretrained(bert, { taks: 'base' } as object)).rejects.toThrow(/unknown option "taks"/);
    await expect(fromPretrained(bert, { task: 'bass' as 'base' })).rejects.toThrow(/Did you mean "base"/);
    await expect(fromPretrained(new Map())).rejects.toThrow(/no config\.json/);
    await expect(fromPretrained(new Map([['config.json', bert.get('config.json')!]]))).rejects.toThrow(
      /no weights in the safetensors format/,
    );
    await expect(fromFolder('/no/such/folder')).rejects.toThrow(/no config\.json/);
  });
});
