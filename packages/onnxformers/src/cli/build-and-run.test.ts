// A model built, looked into and run from the command line gives what the API gives.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { compile, createRunner, initialize, targets, toArray } from '@onnxformers/core';
import { load, openWeights, saveSafetensors } from '@onnxformers/core/node';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import { inputsOf } from '../inputs';
import { cli, dir, here, ids, lm, parsed, write } from './cli.test-helper';

describe('a model', () => {
  it('is built from initialised weights, inspected, run, and returns the same as the API', async () => {
    await write('lm.json', lm);
    const built = await parsed('build', 'lm.json', '--seed', '7', '--out', 'lm');
    expect(built.code).toBe(0);
    expect(built.json).toMatchObject({
      out: 'lm',
      target: 'cpu',
      dtype: 'float32',
      inputs: [{ name: 'ids', dtype: 'int64', dims: ['batch', 'seq'] }],
      outputs: [{ name: 'logits', dtype: 'float32', dims: ['batch', 'seq', 23] }],
    });
    expect((await readdir(join(dir, 'lm'))).sort()).toEqual(['model.onnx', 'onnxformers.json', 'weights.bin']);

    const seen = await cli('inspect', 'lm');
    expect(seen.out).toContain(`${built.json.nodes} nodes`);
    expect(seen.out).toContain('com.microsoft.MultiHeadAttention');
    expect(seen.out).toMatch(/logits +float32\[batch, seq, 23\]/);

    await saveSafetensors(join(dir, 'x.safetensors'), new Map([['ids', ids]]));
    const ran = await parsed('run', 'lm', '--inputs', 'x.safetensors', '--out', 'y.safetensors');
    expect(ran.json).toMatchObject({
      device: 'cpu',
      runtime: 'onnxruntime-node',
      outputs: [{ name: 'logits', dtype: 'float32', dims: [2, 5, 23] }],
    });
    const y = await (await openWeights(join(dir, 'y.safetensors'))).get('logits')!.load();
    const m = zoo.build('model', lm);
    const model = compile(m, { target: targets.cpu, inputs: inputsOf(m), weights: initialize(m, { seed: 7 }) });
    const { logits } = await (await createRunner(model, ort))({ ids });
    expect([...toArray(y).data]).toEqual([...toArray(logits!).data]);

    // The same folder on the runtime of browsers.
    const web = await parsed('run', 'lm', '--inputs', 'x.safetensors', '--out', 'w.safetensors', '--runtime', 'onnxruntime-web');
    expect(web.json).toMatchObject({ device: 'wasm', runtime: 'onnxruntime-web' });
  });

  it('is built from a checkpoint, for another target and dtype, with caches and taps', async () => {
    await write('lm.json', lm);
    const m = zoo.build('model', lm);
    const weights = initialize(m, { seed: 3 });
    await saveSafetensors(join(dir, 'lm.safetensors'), weights);
    const options = ['--target', 'portable-18', '--dtype', 'float16', '--state', '11', '--taps', 'stack.layers.0,embedding'];
    const built = await parsed('build', 'lm.json', '--weights', 'lm.safetensors', '--out', 'lm16', ...options);
    expect(built.error).toBe('');
    expect(built.json.inputs.map((p: { name: string }) => p.name)).toEqual(
      expect.arrayContaining(['ids', 'past_lengths', 'past_key_values.0.key']),
    );
    expect(built.json.outputs.map((p: { name: string }) => p.name)).toEqual(
      expect.arrayContaining(['logits', 'stack.layers.0', 'embedding']),
    );
    const loaded = await load(join(dir, 'lm16'));
    expect([loaded.target, loaded.dtype, loaded.config]).toEqual(['portable-18', 'float16', zoo.toJSON(m)]);
    const missing = new Map([...weights].slice(1));
    await saveSafetensors(join(dir, 'less.safetensors'), missing);
    const less = await cli('build', 'lm.json', '--weights', 'less.safetensors', '--out', 'less');
    expect([less.code, less.err]).toEqual([
      1,
      expect.stringContaining('WeightError: weight "embedding.weight": missing; expected dims [23, 12], got nothing'),
    ]);
  });

  it('needs weights', async () => {
    await write('lm.json', lm);
    expect((await here('build', join(dir, 'lm.json'), '--out', 'z')).err).toContain(
      'build requires weights: --weights FILE for a checkpoint, or --seed N for random weights',
    );
    expect((await here('build', join(dir, 'lm.json'), '--out', 'z', '--seed', '1', '--weights', 'w')).err).toContain(
      '--weights and --seed exclude each other',
    );
  });

  it('is run on its inputs', async () => {
    await write('lm.json', lm);
    await cli('build', 'lm.json', '--seed', '7', '--out', 'small');
    await saveSafetensors(join(dir, 'wrong.safetensors'), new Map([['tokens', ids]]));
    const { code, err } = await cli('run', 'small', '--inputs', 'wrong.safetensors', '--out', 'y.safetensors');
    expect([code, err]).toEqual([
      1,
      'FeedError: feed "tokens": the model has no input of this name; got "tokens". Inputs: ids\n',
    ]);
    const onto = await cli('run', 'small', '--inputs', 'wrong.safetensors', '--out', '.');
    expect([onto.code, onto.err]).toEqual([1, 'FileError: .: a folder, not a file; expected a file for the outputs\n']);
    const other = await cli('run', 'small', '--inputs', 'wrong.safetensors', '--out', 'y.safetensors', '--device', 'nonsense');
    expect(other.err).toMatch(/^RunError: runtime: creating a session on nonsense failed; got no available backend found/);
  });
});
