// Opens a session for each model of a list, runs it once, and says on stderr, between the runtime's own lines, which one is its turn.
//     node open-sessions.mjs LIST.json PROVIDER FROM
// LIST: paths of models. The runtime's verbose log then tells where each node was placed.
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { feedsOf } from './feeds.mjs';

const [list, provider, from] = process.argv.slice(2);
const paths = JSON.parse(readFileSync(list, 'utf8'));
const say = (text) => writeSync(2, `\n@@${text}\n`);
const require = createRequire(import.meta.url);
const web = provider === 'wasm';
const oneLine = (error) => String(error?.message ?? error).replace(/\s+/g, ' ');
const ort = require(web ? process.env.ONNXRUNTIME_WEB || 'onnxruntime-web' : process.env.ONNXRUNTIME_NODE || 'onnxruntime-node');
if (web) {
  ort.env.logLevel = 'verbose';
  ort.env.wasm.numThreads = 1;
}
say(`version ${web ? ort.env.versions.web : ort.env.versions.node}`);
for (let i = Number(from); i < paths.length; i++) {
  say(`model ${i}`);
  try {
    const options = { executionProviders: [provider], graphOptimizationLevel: 'disabled', logSeverityLevel: 0 };
    const session = await ort.InferenceSession.create(web ? new Uint8Array(readFileSync(paths[i])) : paths[i], options);
    say('loaded');
    await session
      .run(feedsOf(ort, session, 'ones'))
      .then(() => say('ran'))
      .catch((error) => say(`stopped ${oneLine(error)}`));
    await session.release();
  } catch (error) {
    say(`failed ${oneLine(error)}`);
  }
}
say('end');
process.exit(0);
