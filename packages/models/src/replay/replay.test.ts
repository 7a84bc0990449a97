import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Ort, type Tensor, targets } from '@onnxformers/core';
import * as runtime from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { allowed, type Case, readCase } from './case';
import { difference } from './compare';
import { type Place, replay } from './replay';

const own = fileURLToPath(new URL('../../fixtures', import.meta.url));
const ort = runtime as unknown as Ort;
const cpu: Place = { target: targets.cpu, ort, precision: 'float32' };
const portable: Place = { target: targets.portable(), ort, precision: 'float32' };
const casesIn = (folder: string) =>
  readdirSync(folder, { withFileTypes: true })
    .filter((e) => e.isDirectory() && !e.name.startsWith('tokenizer-'))
    .map(({ name }) => `${folder}/${name}`);
const recorded = (name: string) => readCase(`${own}/${name}`);

describe.each([
  ['portable', portable],
  ['cpu', cpu],
])('recorded checkpoints on %s', (_, place) => {
  it.each(casesIn(own))('%s', async (folder) => {
    const outcome = await replay(await readCase(folder), place);
    expect(outcome.reason).toBeUndefined();
    expect(outcome.checks.length).toBeGreaterThan(4);
  });
});

describe('recorded checkpoints in float16', () => {
  // One of each kind: an encoder, a decoder, an encoder-decoder.
  it.each(['bert', 'llama', 't5'])('%s', async (name) => {
    const outcome = await replay(await recorded(name), { ...cpu, precision: 'float16' });
    expect(outcome.reason).toBeUndefined();
    expect(outcome.checks.length).toBeGreaterThan(4);
  });
});

const whole = process.env.ONNXFORMERS_HF_FIXTURES;
describe('the whole set', () => {
  it.each(whole ? casesIn(whole) : [])('%s', async (folder) => {
    const outcome = await replay(await readCase(folder), cpu);
    expect(outcome.result === 'failed' ? outcome.reason : undefined).toBeUndefined();
  });
  it('is replayed if its folder is given', (test) => {
    if (!whole) test.skip('ONNXFORMERS_HF_FIXTURES names no folder');
    expect(whole).toBeTruthy();
  });
});

const changed = (c: Case, run: string, output: string, change: (t: Tensor) => Tensor): Case => ({
  ...c,
  runs: c.runs.map((r) => {
    const t = r.out.get(output);
    return r.name === run && t ? { ...r, out: new Map([...r.out, [output, change(t)]]) } : r;
  }),
});
const moved =
  (at: number, by: number) =>
  (t: Tensor): Tensor => ({ ...t, data: Float32Array.from(t.data as Float32Array, (x, i) => (i === at ? x + by : x)) });

describe('a case fails', () => {
  it('for one element that is off, by its run and output', async () => {
    const c = await recorded('bert');
    const off = 2 * allowed(c, 'logits', 'float32');
    const outcome = await replay(changed(c, 'forward', 'logits', moved(5, off)), cpu);
    expect(outcome).toMatchObject({ result: 'failed', reason: expect.stringMatching(/^forward\/logits: off by /) });
  });

  it('for another token, except where two logits are as close as the tolerance', async () => {
    const c = await recorded('gpt2');
    const other = changed(c, 'generate', 'sequences', (t) => ({
      ...t,
      data: BigInt64Array.from(t.data as BigInt64Array, (id, i) => (i === t.data.length - 1 ? (id + 1n) % 80n : id)),
    }));
    expect((await replay(other, cpu)).reason).toMatch(/^generate\/sequences: token 23 of sequence 0 is /);
    const close = changed(other, 'generate', 'margins', (t) => ({ ...t, data: new Float32Array(t.data.length) }));
    expect((await replay(close, cpu)).reason).toBeUndefined();
  });

  it('for an output that nothing computes, and for a hidden state of other dims', async () => {
    const c = await recorded('bert');
    const more = { ...c, runs: c.runs.map((r) => ({ ...r, out: new Map([...r.out, ['speech', r.out.get('logits')!]]) })) };
    expect((await replay(more, cpu)).reason).toMatch(/^forward\/speech: no such output/);
    const flat = changed(c, 'forward', 'hidden_states.1', (t) => ({ ...t, dims: [t.data.length] }));
    expect((await replay(flat, cpu)).reason).toMatch(/^forward\/hidden_states.1: dims \[.*\] instead of/);
  });

  it('is missing without a family', async () => {
    const c = await recorded('bert');
    const outcome = await replay(c, cpu, []);
    expect(outcome).toMatchObject({ result: 'missing', reason: 'no family bert' });
  });
});

describe('differences', () => {
  const t = (dims: number[], data: number[]): Tensor => ({ dtype: 'float32', dims, data: Float32Array.from(data) });
  const mask: Tensor = { dtype: 'int64', dims: [1, 3], data: BigInt64Array.of(1n, 0n, 1n) };
  it('count where the mask is 1, also NaN', () => {
    expect(difference(t([1, 3], [1, 9, 3]), t([1, 3], [1, 2, 3]), mask)).toEqual({ largest: 0 });
    expect(difference(t([1, 3, 1], [1, 9, 3.5]), t([1, 3, 1], [1, 2, 3]), mask)).toEqual({ largest: 0.5 });
    expect(difference(t([1, 3], [Number.NaN, 2, 3]), t([1, 3], [1, 2, 3]), mask).largest).toBe(Number.POSITIVE_INFINITY);
  });
  it('count everywhere in tensors of other axes', () => {
    expect(difference(t([1, 2], [1, 9]), t([1, 2], [1, 2]), mask)).toEqual({ largest: 7 });
  });
});
