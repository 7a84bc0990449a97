// npm start
import { compile, createRunner, initialize, type Model, serialize, targets, tensor } from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { attention, byteFeatures } from './byte-features';

// The ops of the file: nodes that depend only on weights are folded when it is written.
const opsOf = (model: Model): string =>
  serialize(model)
    .graph.nodes.map(({ opType }) => opType)
    .join(' → ');

const alone = attention();
const inputs = { x: ['float32', ['batch', 'seq', 24]] } as const;
const model = compile(alone, { target: targets.cpu, inputs, weights: initialize(alone, { seed: 1 }) });
console.log(`the block alone:     ${opsOf(model)}`);

const around = byteFeatures();
const bytes = { x: ['uint8', ['batch', 'seq', 24]], lengths: ['int64', ['batch']] } as const;
const features = compile(around, { target: targets.cpu, inputs: bytes, weights: initialize(around, { seed: 1 }) });
console.log(`with its neighbours: ${opsOf(features)}`);

const run = await createRunner(features, ort);
const x = Uint8Array.from({ length: 2 * 5 * 24 }, (_, i) => (i * i) % 256);
const { y } = await run({ x: tensor('uint8', [2, 5, 24], x), lengths: tensor('int64', [2], [5, 3]) });
const rows = Array.from({ length: 10 }, (_, row) => (y!.data as Float32Array).slice(row * 10, row * 10 + 10));
console.log(`lengths of the ${rows.length} rows: ${rows.map((row) => Math.hypot(...row).toFixed(4)).join(' ')}`);
await run.dispose();
