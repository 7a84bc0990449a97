// Packs every package as it would be published, into tarballs/. Needs `npm run build` before.
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pnpm, root } from './pnpm.mjs';

/**
 * Packs every package into a folder.
 * @param {string} into
 * @returns {string[]} the paths of the tarballs
 */
export function pack(into) {
  for (const name of readdirSync(join(root, 'packages'))) {
    if (!existsSync(join(root, 'packages', name, 'dist')))
      throw new Error(`packages/${name} is not built: run \`npm run build\` first`);
  }
  const args = ['--filter', './packages/*', '--recursive', 'pack', '--pack-destination', into];
  if (pnpm(args, root, ['ignore', 'ignore', 'inherit']) !== 0) throw new Error('pnpm pack failed');
  return readdirSync(into).map((name) => join(into, name));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const into = join(root, 'tarballs');
  rmSync(into, { recursive: true, force: true });
  mkdirSync(into);
  for (const file of pack(into)) console.log(file);
}
