// What the command line tells of a model without running it.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compile, explain, printExplanation, printSummary, summary, targets } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import { inputsOf } from '../inputs';
import { dir, here, lm, parsed, write } from './cli.test-helper';

describe('explain', () => {
  it('explains a config, as the API does', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('explain', 'lm.json', '--target', 'cuda', '--dtype', 'float16', '--sm', '90');
    const m = zoo.build('model', lm);
    const model = compile(m, { target: targets.cuda, machine: { sm: 90 }, dtype: 'float16', inputs: inputsOf(m) });
    expect(json).toEqual(JSON.parse(JSON.stringify(explain(model))));
    const { out } = await here('explain', join(dir, 'lm.json'), '--target', 'cuda', '--dtype', 'float16', '--sm', '90');
    expect(out).toBe(`${printExplanation(explain(model))}\n`);
    expect(out).toContain('→ MultiHeadAttention');
  });

  it('explains a saved model, with caches and taps, also for another target', async () => {
    await write('lm.json', lm);
    const taps = 'stack.layers.0,stack.layers.0.mixer.attention.weights';
    const options = ['--state', '11', '--taps', taps, '--assumptions', 'prefill into empty cache'];
    const saved = join(dir, 'saved');
    await here('build', join(dir, 'lm.json'), '--seed', '1', '--out', saved, ...options);
    const of = async (...args: string[]) => (await here('explain', ...args)).out;
    expect(await of(saved)).toBe(await of(join(dir, 'lm.json'), ...options));
    expect(await of(saved, '--target', 'wasm')).toBe(await of(join(dir, 'lm.json'), ...options, '--target', 'wasm'));
    expect(await of(saved, '--target', 'wasm')).toContain('lowered for wasm, float32');
  });

  it('keeps to a path', async () => {
    await write('lm.json', lm);
    const { out } = await here('explain', join(dir, 'lm.json'), '--path', 'stack.norm');
    expect(out).toContain('stack.norm');
    expect(out).not.toContain('mixer');
    const { code, err } = await here('explain', join(dir, 'lm.json'), '--path', 'stack.layers.0.mixr');
    expect([code, err]).toEqual([
      1,
      'ConfigError: path: the model has no module of this path; got "stack.layers.0.mixr". Did you mean "stack.layers.0.mixer"?\n',
    ]);
  });
});

describe('summary', () => {
  it('counts for given sizes, as the API does', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('summary', 'lm.json', '--size', 'batch=2,seq=7');
    const m = zoo.build('model', lm);
    const model = compile(m, { target: targets.cpu, inputs: inputsOf(m) });
    expect(json).toEqual(JSON.parse(JSON.stringify(summary(model, { batch: 2, seq: 7 }))));
    expect((await here('summary', join(dir, 'lm.json'))).out).toBe(`${printSummary(summary(model, { batch: 1, seq: 128 }))}\n`);
  });

  it('refuses invalid sizes', async () => {
    await write('lm.json', lm);
    const sizes = (text: string) => here('summary', join(dir, 'lm.json'), '--size', text);
    expect(await sizes('seq')).toMatchObject({
      code: 2,
      err: expect.stringContaining('--size must be a list such as batch=2,seq=128, got "seq"'),
    });
    expect(await sizes('seqq=3')).toMatchObject({ code: 1, err: expect.stringMatching(/^ConfigError: .*seqq/) });
  });
});

describe('graph', () => {
  it('draws a config as SVG, or writes it for Graphviz', async () => {
    await write('lm.json', lm);
    const svg = join(dir, 'lm.svg');
    expect((await here('graph', join(dir, 'lm.json'), '--target', 'cuda', '--out', svg)).out).toMatch(/lm\.svg: \d+ nodes\n$/);
    expect(await readFile(svg, 'utf8')).toMatch(/^<svg[\s\S]*(?:MultiHead|GroupQuery)Attention[\s\S]*<\/svg>\s*$/);
    const dot = join(dir, 'lm.dot');
    const { json } = await parsed('graph', 'lm.json', '--target', 'portable', '--out', dot);
    expect(json).toMatchObject({ file: dot });
    const text = await readFile(dot, 'utf8');
    expect(text).toMatch(/^digraph \{/);
    expect(text).not.toMatch(/(?:MultiHead|GroupQuery)Attention/);
  });

  it('refuses another kind of file, and a missing folder', async () => {
    await write('lm.json', lm);
    const config = join(dir, 'lm.json');
    expect(await here('graph', config, '--out', 'lm.png')).toMatchObject({
      code: 2,
      err: expect.stringContaining('.svg or .dot'),
    });
    expect(await here('graph', config, '--out', join(dir, 'nowhere', 'lm.dot'))).toMatchObject({
      code: 1,
      err: expect.stringContaining('cannot be written'),
    });
  });
});

it('schema prints the JSON Schema of a kind', async () => {
  expect((await parsed('schema', 'layer')).json).toEqual(zoo.jsonSchema('layer'));
});
