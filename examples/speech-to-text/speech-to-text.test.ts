import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, createRunner, type Ort, pastOf, type Tensor, targets, tensor } from '@onnxformers/core';
import { decodeAudio, partsOf } from '@onnxformers/models';
import { fromPretrained, pipeline } from '@onnxformers/models/node';
import * as runtime from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { moonshineTiny } from './checkpoint';
import { saveFloat } from './oracle.test-helper';
import { readPackageFile } from './package-files';
import { graphOf } from './weights';

const ort = runtime as unknown as Ort;
const speech = fileURLToPath(new URL('fixtures/speech.wav', import.meta.url));
const said = 'The quick brown fox jumped over the lazy dog.';

const scratch = mkdtempSync(join(tmpdir(), 'moonshine-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** The package's file in float32, as a function. */
async function oracle(name: 'encoder_model.onnx' | 'decoder_model_merged.onnx', inputs: string[], output: string) {
  const folder = join(scratch, name);
  const rewritten = await saveFloat(graphOf(await readPackageFile(name), name), folder, inputs, [output]);
  const session = await runtime.InferenceSession.create(join(folder, 'model.onnx'));
  const run = async (feeds: Readonly<Record<string, Tensor>>): Promise<Tensor> => {
    const tensors = Object.entries(feeds).map(([key, t]) => [
      key,
      new runtime.Tensor(t.dtype as 'float32', t.data as Float32Array, t.dims),
    ]);
    const result = (await session.run(Object.fromEntries(tensors)))[output]!;
    return { dtype: 'float32', dims: result.dims, data: result.data as Float32Array };
  };
  return { rewritten, run };
}

/** The largest difference, and the largest number. */
function apart(a: Tensor, b: Tensor): { readonly off: number; readonly most: number } {
  expect(a.dims).toEqual(b.dims);
  let [off, most] = [0, 0];
  for (let i = 0; i < a.data.length; i++) {
    off = Math.max(off, Math.abs(Number(a.data[i]) - Number(b.data[i])));
    most = Math.max(most, Math.abs(Number(b.data[i])));
  }
  return { off, most };
}

const rowsOf = ({ dims, data }: Tensor): Float32Array[] => {
  const width = dims.at(-1)!;
  return Array.from({ length: data.length / width }, (_, i) => (data as Float32Array).subarray(i * width, (i + 1) * width));
};

describe('Moonshine-tiny from blocks', async () => {
  const files = await moonshineTiny();
  const samples = await decodeAudio(readFileSync(speech), 16_000);

  it('computes what the files of the package compute in float32, with a cache too', async () => {
    const { encoder, decoder } = partsOf(await fromPretrained(files));
    const target = targets.cpu;
    const encode = await createRunner(
      compile(encoder.module, { target, inputs: { features: ['float32', ['batch', 'seq', 1]] }, weights: encoder.weights }),
      ort,
    );
    const memory = (await encode({ features: tensor('float32', [1, samples.length, 1], samples) })).hidden_states!;
    await encode.dispose();
    const encoderOracle = await oracle('encoder_model.onnx', ['input_values'], 'last_hidden_state');
    expect(encoderOracle.rewritten).toBe(36);
    const wanted = await encoderOracle.run({ input_values: tensor('float32', [1, samples.length], samples) });
    const encoded = apart(memory, wanted);
    expect(encoded.most).toBeGreaterThan(1);
    expect(encoded.off).toBeLessThan(2e-5 * encoded.most);

    const step = await createRunner(
      compile(decoder.module, {
        target,
        inputs: { ids: ['int64', ['batch', 'seq']], memory: ['float32', ['batch', 'memory_seq', 288]] },
        weights: decoder.weights,
        state: 'io',
        assumptions: ['prefill into empty cache'],
      }),
      ort,
    );
    // One call with two tokens, then one token a call; the memory is in the cache after the first call.
    const ids = [1, 450, 4996, 17_354, 1701, 29_916];
    const none = tensor('float32', [1, 0, 288], []);
    const logits: Float32Array[] = [];
    let past = {};
    for (const [i, fresh] of [ids.slice(0, 2), ...ids.slice(2).map((id) => [id])].entries()) {
      const feeds = { ids: tensor('int64', [1, fresh.length], fresh), memory: i ? none : wanted };
      const results = (await step({ ...feeds, ...past })) as Readonly<Record<string, Tensor>>;
      past = pastOf(results);
      logits.push(...rowsOf(results.logits!));
    }
    await step.dispose();
    const decoderOracle = await oracle('decoder_model_merged.onnx', ['input_ids', 'encoder_hidden_states'], 'logits');
    expect(decoderOracle.rewritten).toBe(60);
    const all = await decoderOracle.run({ input_ids: tensor('int64', [1, ids.length], ids), encoder_hidden_states: wanted });
    for (const [i, row] of rowsOf(all).entries()) {
      const { off, most } = apart(tensor('float32', [row.length], logits[i]!), tensor('float32', [row.length], row));
      expect(off).toBeLessThan(2e-5 * most);
    }
  });

  it('writes what was said', async () => {
    const transcribe = await pipeline('automatic-speech-recognition', files, ort);
    expect(await transcribe(speech)).toEqual({ text: said });
    await transcribe.dispose();
  });
});
