// Opens each model of a list, runs it on its feeds, and says on stderr how its outputs compare with those that are expected.
//     node run-models.mjs LIST.json PROVIDER FROM
// LIST: { path, feeds, expected } of models, where paths are relative to it. An expected output has a tolerance, and null for elements that may be
// anything; without expected outputs the numbers are not compared. Needs nothing but the runtime, so it also runs on a machine with a GPU alone.
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { arrays, numbersIn } from './feeds.mjs';

const [list, provider, from] = process.argv.slice(2);
const models = JSON.parse(readFileSync(list, 'utf8'));
const say = (text) => writeSync(2, `\n@@${text}\n`);
const require = createRequire(import.meta.url);
const web = provider === 'wasm';
const oneLine = (error) => String(error?.message ?? error).replace(/\s+/g, ' ');
const ort = require(web ? process.env.ONNXRUNTIME_WEB || 'onnxruntime-web' : process.env.ONNXRUNTIME_NODE || 'onnxruntime-node');
if (web) ort.env.wasm.numThreads = 1;
// A node that a GPU provider leaves to the CPU would be right, but not its own.
const extra = provider === 'cuda' || provider === 'webgpu' ? { extra: { session: { disable_cpu_ep_fallback: '1' } } } : {};
const options = { executionProviders: [provider], graphOptimizationLevel: 'disabled', logSeverityLevel: 4, ...extra };

function feed({ type, dims, data }) {
  const Typed = arrays[type];
  return new ort.Tensor(type, Typed.from(data, Typed === BigInt64Array ? BigInt : Number), dims);
}

/** The largest error of an output; undefined where it is within the tolerance. */
function errorOf(output, { data, tolerance }) {
  const got = numbersIn(output);
  if (got.length !== data.length) return `${got.length} elements instead of ${data.length}`;
  let worst = 0;
  data.forEach((x, i) => {
    if (x === null || Object.is(got[i], Number(x))) return;
    const off = Math.abs(got[i] - Number(x));
    worst = Math.max(worst, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
  });
  return worst > tolerance ? `${worst.toPrecision(3)}, more than ${tolerance.toPrecision(3)}` : undefined;
}

say(`version ${web ? ort.env.versions.web : ort.env.versions.node}`);
for (let i = Number(from); i < models.length; i++) {
  say(`model ${i}`);
  const { path, feeds, expected } = models[i];
  const file = resolve(dirname(list), path);
  try {
    const session = await ort.InferenceSession.create(web ? new Uint8Array(readFileSync(file)) : file, { ...options });
    try {
      const outputs = await session.run(Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, feed(t)])));
      const wrong = Object.entries(expected ?? {}).map(([name, y]) => errorOf(outputs[name], y));
      if (!expected) say('ran');
      else if (wrong.every((w) => w === undefined)) say('right');
      else say(`wrong by ${wrong.find((w) => w !== undefined)}`);
    } catch (error) {
      say(`stopped ${oneLine(error)}`);
      // After an illegal access the device answers nothing more in this process.
      if (/CUDA (error|failure)/.test(error?.message)) process.exit(1);
    }
    await session.release();
  } catch (error) {
    say(`failed ${oneLine(error)}`);
  }
}
say('end');
process.exit(0);
