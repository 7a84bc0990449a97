// Installs the workspace when node_modules does not hold what pnpm-lock.yaml asks for. Plain Node, because it runs before anything
// is installed; pnpm itself comes from npx, so that Node and npm are all a machine needs.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
const read = (path) => {
  try {
    return readFileSync(new URL(path, root), 'utf8');
  } catch {
    return undefined;
  }
};

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `Node ${process.versions.node} is too old: this workspace needs Node 20.19 or newer. Install a newer Node and try again.`,
  );
  process.exit(1);
}

// pnpm leaves a copy of the lockfile that it has installed completely, so equal text means there is nothing to do.
if (read('node_modules/.pnpm/lock.yaml') !== read('pnpm-lock.yaml')) {
  const { packageManager } = JSON.parse(read('package.json'));
  console.log(`Installing the workspace with ${packageManager} …`);
  const { status, error } = spawnSync('npx', ['-y', packageManager, 'install', '--frozen-lockfile'], {
    cwd: fileURLToPath(root),
    stdio: 'inherit',
    shell: process.platform === 'win32', // npx is a .cmd file there
    env: { ...process.env, CI: 'true' }, // pnpm then never asks, not even before it replaces a node_modules made by npm
  });
  if (status !== 0) {
    console.error(
      `The installation failed${error ? ` (${error.message})` : ''}. It needs npm and the npm registry, nothing else.`,
    );
    process.exit(status || 1);
  }
}
