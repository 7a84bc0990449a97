// npm start
import { compile, createRunner, initialize, targets, tensor, zoo } from 'onnxformers';
import * as ort from 'onnxruntime-node';
import { cosineAttention } from './cosine-attention';

// From here on "cosine" can be used like any other name, in the editor too.
const mine = zoo.with(cosineAttention);
const encoder = mine.build('model', {
  name: 'encoder',
  dim: 32,
  stack: {
    name: 'stack',
    depth: 2,
    layers: {
      name: 'pre_norm',
      mixer: { name: 'multi_head', heads: 4, attention: { name: 'cosine', maxScale: 50 } },
      feedforward: 'mlp',
    },
  },
});
const model = compile(encoder, {
  target: targets.cpu,
  inputs: { x: ['float32', ['batch', 'seq', 32]], lengths: ['int64', ['batch']] },
  weights: initialize(encoder, { seed: 1 }),
});
for (const { path, op, chosen } of model.decisions) if (op === 'onnxformers.Attend') console.log(`${path}: ${chosen}`);

const run = await createRunner(model, ort);
const x = Float32Array.from({ length: 2 * 7 * 32 }, (_, i) => Math.sin(i * i));
const { hidden_states } = await run({ x: tensor('float32', [2, 7, 32], x), lengths: tensor('int64', [2], [7, 4]) });
console.log(`hidden_states: ${hidden_states!.dtype}[${hidden_states!.dims.join(', ')}]`);
await run.dispose();
