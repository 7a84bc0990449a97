// Opens each model of a list as it is written and with the runtime's optimisations, runs both, and says on stderr whether they agree.
//     node compare-levels.mjs LIST.json PROVIDER FROM
// LIST: { path, fusion, tolerance } of models; without a tolerance nothing is run. Where they disagree, the fusion is turned off: if that helps, it is
// to blame.
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { feedsOf, numbersIn } from './feeds.mjs';

const [list, provider, from] = process.argv.slice(2);
const models = JSON.parse(readFileSync(list, 'utf8'));
const say = (text) => writeSync(2, `\n@@${text}\n`);
const require = createRequire(import.meta.url);
const web = provider === 'wasm';
const ort = require(web ? process.env.ONNXRUNTIME_WEB || 'onnxruntime-web' : process.env.ONNXRUNTIME_NODE || 'onnxruntime-node');
if (web) ort.env.wasm.numThreads = 1;
const oneLine = (error) => String(error?.message ?? error).replace(/\s+/g, ' ');

/** Outputs at a level; none where nothing is run. */
async function outputsAt(graphOptimizationLevel, { path, tolerance }, without = '') {
  const extra = { optimization: { disable_specified_optimizers: without } };
  const options = { executionProviders: [provider], graphOptimizationLevel, logSeverityLevel: 4, ...(without && { extra }) };
  const session = await ort.InferenceSession.create(web ? new Uint8Array(readFileSync(path)) : path, options);
  try {
    if (tolerance === undefined) return [];
    return Object.values(await session.run(feedsOf(ort, session, 'varied'))).map(numbersIn);
  } finally {
    await session.release();
  }
}
const alike = (a, b, tolerance) =>
  a.length === b.length && a.every((x, i) => Object.is(x, b[i]) || Math.abs(x - b[i]) <= tolerance * Math.max(1, Math.abs(x)));

/** A fusion by all its names; one of a norm that is off leaves the pattern to another. */
const norms = ['LayerNormFusion', 'SimplifiedLayerNormFusion'];
const everyForm = (fusion) =>
  (norms.includes(fusion) ? norms : [fusion]).flatMap((name) => [name, `${name}L1`, `${name}L2`]).join(';');

say(`version ${web ? ort.env.versions.web : ort.env.versions.node}`);
for (let i = Number(from); i < models.length; i++) {
  say(`model ${i}`);
  const plain = await outputsAt('disabled', models[i]).catch(() => undefined);
  if (!plain) {
    say('not there');
    continue;
  }
  const optimised = async (without) => {
    try {
      const fused = await outputsAt('all', models[i], without);
      return plain.every((y, k) => alike(y, fused[k], models[i].tolerance)) || 'differs';
    } catch (error) {
      return `breaks ${oneLine(error)}`;
    }
  };
  const found = await optimised('');
  const fusion = models[i].fusion.split(' ')[0];
  const blamed = found === true || (await optimised(everyForm(fusion))) === true;
  say(found === true ? 'agrees' : blamed ? found : 'another fusion');
}
say('end');
process.exit(0);
