// Installs the workspace if node_modules does not match pnpm-lock.yaml. Plain Node, because it runs before anything
// is installed.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pnpm, root } from './pnpm.mjs';

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch {
    return undefined;
  }
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `Node ${process.versions.node} is too old: this workspace needs Node 20.19 or newer. Install a newer Node and try again.`,
  );
  process.exit(1);
}

// pnpm leaves a copy of the lockfile that it has installed completely, so equal text means there is nothing to do.
if (read('node_modules/.pnpm/lock.yaml') !== read('pnpm-lock.yaml')) {
  console.log('Installing the workspace …');
  // Its warnings are of the command line of a package that is not built yet, which nothing here needs.
  const status = pnpm(['install', '--frozen-lockfile', '--loglevel=error']);
  if (status !== 0) {
    console.error('The installation failed. It needs npm and the npm registry, nothing else.');
    process.exit(status);
  }
}
