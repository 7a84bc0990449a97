import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load, save } from '@onnxformers/core/node';
import { compile, createRunner, initialize, targets, zoo } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { batchOf, compileGeneration, compileStep, generateByStep, generateInLoop, readModel } from './language-model';

const config = new URL('config.json', import.meta.url);
const prompt = [...Buffer.from('Prime')];
const [seed, steps] = [3, 7];

/** Greedy tokens of the model without a cache: the whole sequence is computed again for each token. */
async function uncached(): Promise<number[]> {
  const model = await readModel(config);
  const weights = initialize(model, { scheme: 'small', seed });
  const run = await createRunner(
    compile(model, { target: targets.portable(18), inputs: { ids: ['int64', ['batch', 'seq']] }, weights }),
    ort,
  );
  const text = [...prompt];
  for (let i = 0; i < steps; i++) {
    const { logits } = await run({ ids: batchOf(text) });
    const row = [...(logits!.data as Float32Array)].slice(-256);
    text.push(row.indexOf(Math.max(...row)));
  }
  await run.dispose();
  return text.slice(prompt.length);
}

describe('causal language model', () => {
  it('can be converted back to a config, including tied weights and inherited sizes', async () => {
    const model = await readModel(config);
    const again = zoo.parse('model', zoo.toJSON(model));
    expect(zoo.toJSON(again)).toEqual(zoo.toJSON(model));
  });

  it.each([targets.cpu, targets.portable(18)])(
    'saved and loaded, generates on $name what the uncached model would, in many runs and in one',
    async (target) => {
      const expected = await uncached();
      const model = await readModel(config);
      const dir = await mkdtemp(join(tmpdir(), 'causal-lm-'));
      try {
        await save(compileStep(model, { target, seed }), dir);
        const stepper = await createRunner(await load(dir), ort);
        expect(await generateByStep(stepper, prompt, steps)).toEqual(expected);
        await stepper.dispose();
      } finally {
        await rm(dir, { recursive: true });
      }
      const generator = await createRunner(compileGeneration(model, { target, seed, steps, capacity: 13 }), ort);
      expect(await generateInLoop(generator, prompt)).toEqual(expected);
      await generator.dispose();
    },
  );

  it('has the promised kernel for its shared key heads', async () => {
    const { graph } = compileStep(await readModel(config), { target: targets.cpu, seed });
    expect(graph.nodes.filter((n) => n.op.key === 'com.microsoft.GroupQueryAttention')).toHaveLength(3);
  });
});
