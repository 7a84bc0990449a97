/**
 * Runs tests under other seeds of the property tests and under other options of the sessions of onnxruntime-node.
 *
 *     npm run test:variations [-- PATHS of test files, default: all]
 *
 * Ends with one line for each variation, and fails if any of them failed.
 */
import { spawnSync } from 'node:child_process';

const sessions = [
  { intraOpNumThreads: 1, graphOptimizationLevel: 'disabled' },
  { intraOpNumThreads: 2, graphOptimizationLevel: 'basic' },
  { intraOpNumThreads: 2, graphOptimizationLevel: 'all' },
];
const variations = [
  ...[7, 4242, 987_654_321].map((seed) => ({ FAST_CHECK_SEED: String(seed) })),
  ...sessions.map((options) => ({ SESSION_OPTIONS: JSON.stringify(options) })),
];
const results = variations.map((variation) => {
  const { status } = spawnSync('npx', ['vitest', 'run', ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, ...variation },
  });
  return { text: Object.entries(variation).flat().join('='), passed: status === 0 };
});
for (const { text, passed } of results) process.stdout.write(`${passed ? 'passed' : 'FAILED'} ${text}\n`);
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1;
