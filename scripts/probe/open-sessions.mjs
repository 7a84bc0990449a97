// Opens a session for each model of a list, runs it once, and says on stderr, between the runtime's own lines, which one is its turn.
//     node open-sessions.mjs LIST.json PROVIDER FROM
// LIST: paths of models. The runtime's verbose log then tells where each node was placed.
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';

const [list, provider, from] = process.argv.slice(2);
const paths = JSON.parse(readFileSync(list, 'utf8'));
const say = (text) => writeSync(2, `\n@@${text}\n`);
const require = createRequire(import.meta.url);
const web = provider === 'wasm';
const oneLine = (error) => String(error?.message ?? error).replace(/\s+/g, ' ');
/** Ones of every input's dims, 2 for sizes with a name. */
function feedsOf({ inputMetadata }) {
  return Object.fromEntries(
    inputMetadata.map(({ name, type, shape }) => {
      const dims = shape.map((d) => (typeof d === 'number' && d >= 0 ? d : 2));
      const count = dims.reduce((a, b) => a * b, 1);
      const element = { int64: 1n, uint64: 1n, bool: 1, float16: 0x3c00 }[type] ?? 1;
      return [
        name,
        new ort.Tensor(
          type,
          arrays[type].from({ length: count }, () => element),
          dims,
        ),
      ];
    }),
  );
}
const arrays = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};
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
      .run(feedsOf(session))
      .then(() => say('ran'))
      .catch((error) => say(`stopped ${oneLine(error)}`));
    await session.release();
  } catch (error) {
    say(`failed ${oneLine(error)}`);
  }
}
say('end');
process.exit(0);
