// npm start -- "Once upon a time" --steps 32 --out model
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { load, save } from '@onnxformers/core/node';
import { createRunner, namesOf, targets } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { compileGeneration, compileStep, generateByStep, generateInLoop, readModel } from './language-model';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { steps: { type: 'string', default: '32' }, seed: { type: 'string', default: '1' }, out: { type: 'string' } },
});
const prompt = [...Buffer.from(positionals[0] ?? 'Once upon a time')];
const [steps, seed] = [Number(values.steps), Number(values.seed)];
const target = targets.cpu;

const model = await readModel(new URL('config.json', import.meta.url));
const count = [...namesOf(model).parameters.values()].reduce((n, { dims }) => n + dims.reduce((a, b) => a * b, 1), 0);
console.log(`${count.toLocaleString('en')} parameters, initialised from seed ${seed}`);

const dir = values.out ?? (await mkdtemp(join(tmpdir(), 'causal-lm-')));
try {
  const compiled = compileStep(model, { target, seed });
  await save(compiled, dir);
  console.log(`saved to ${dir}; attention: ${kernelsOf(compiled.graph.nodes.map((n) => n.op.key))}`);

  const stepper = await createRunner(await load(dir), ort);
  const byStep = await generateByStep(stepper, prompt, steps);
  await stepper.dispose();
  print(`${steps} runs`, byStep);

  const generation = compileGeneration(model, { target, seed, steps, capacity: prompt.length + steps });
  const generator = await createRunner(generation, ort);
  const inLoop = await generateInLoop(generator, prompt);
  await generator.dispose();
  print('1 run', inLoop);

  if (inLoop.join() !== byStep.join()) throw new Error('the two ways generated different tokens');
  console.log('both ways generate the same tokens');
} finally {
  if (values.out === undefined) await rm(dir, { recursive: true });
}

// The weights are random, so the text is noise, but it is always the same noise.
function print(how: string, tokens: readonly number[]): void {
  console.log(`${how.padStart(8)}: ${JSON.stringify(Buffer.from(tokens).toString('latin1'))}`);
}

function kernelsOf(keys: readonly string[]): string {
  const fused = keys.filter((key) => /Attention$/.test(key));
  return [...new Set(fused)].map((key) => `${fused.filter((k) => k === key).length} × ${key}`).join(', ');
}
