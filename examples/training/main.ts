// npm start -- gpt|vit|metaformer [steps]
import { readFile } from 'node:fs/promises';
import { compile, createRunner, targets } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import type { Trained } from './adam';
import { microGpt, sample, trainGpt } from './micro-gpt';
import { metaFormer, stripes, trainClassifier, visionTransformer } from './vision';

const [which = 'gpt', given] = process.argv.slice(2);
const steps = Number(given ?? (which === 'gpt' ? 300 : 60));
if (!['gpt', 'vit', 'metaformer'].includes(which) || !(steps >= 1)) {
  console.error('Usage: npm start -- gpt|vit|metaformer [steps]');
  process.exit(1);
}

function report({ losses }: Trained): void {
  const every = Math.ceil(steps / 5);
  losses.forEach((loss, i) => {
    if (i === 0 || (i + 1) % every === 0) console.log(`step ${i + 1}: loss ${loss.toFixed(2)}`);
  });
}

if (which === 'gpt') {
  const text = await readFile(new URL('../../LICENSE', import.meta.url), 'utf8');
  const gpt = microGpt(text);
  const trained = await trainGpt(gpt, text, steps);
  report(trained);
  console.log(await sample(gpt, trained, { prompt: 'The ', count: 80, random: Math.random }));
} else {
  const model = which === 'vit' ? visionTransformer() : metaFormer();
  const trained = await trainClassifier(model, steps);
  report(trained);
  const run = await createRunner(
    compile(model, { target: targets.cpu, inputs: { pixels: ['float32', ['batch', 3, 32, 32]] }, weights: trained.weights }),
    ort,
  );
  const { pixels, labels } = stripes(50, 1000);
  const { logits } = await run({ pixels: pixels! });
  const rows = Array.from({ length: 50 }, (_, i) => [...(logits!.data as Float32Array).slice(i * 10, i * 10 + 10)]);
  const right = rows.filter((row, i) => row.indexOf(Math.max(...row)) === Number(labels!.data[i])).length;
  console.log(`${right} of 50 new images are classified correctly`);
  await run.dispose();
}
