import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of the workspace. */
export const root = fileURLToPath(new URL('../', import.meta.url));

/**
 * Runs the pnpm of `packageManager` through npx, so that Node and npm are all a machine needs.
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {import('node:child_process').StdioOptions} stdio
 * @returns {number} the exit status
 */
export function pnpm(args, cwd = root, stdio = 'inherit') {
  const { packageManager } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const { status, error } = spawnSync('npx', ['-y', packageManager, ...args], {
    cwd,
    stdio,
    shell: process.platform === 'win32', // npx is a .cmd file there
    env: { ...process.env, CI: 'true' }, // pnpm then never asks, not even before it replaces a node_modules made by npm
  });
  if (error) console.error(`${packageManager} could not be started through npx: ${error.message}`);
  return status ?? 1;
}
