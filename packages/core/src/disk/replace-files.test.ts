import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { replaceFiles } from './replace-files';
import { finishMoves } from './unfinished';

const names = ['weights', 'model', 'description'] as const;
let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'replace-'));
});
afterEach(() => rm(dir, { recursive: true }));

const write = (content: string) => async (folder: string) => {
  for (const name of names) await writeFile(join(folder, name), `${content} ${name}`);
};
const all = (content: string) => Object.fromEntries(names.map((name) => [name, `${content} ${name}`]));
async function contents(): Promise<Record<string, string>> {
  const found = (await readdir(dir)).filter((name) => !name.startsWith('.'));
  return Object.fromEntries(await Promise.all(found.map(async (name) => [name, await readFile(join(dir, name), 'utf8')])));
}

/** A process that replaces the files by new ones and is ended before it moves the file of this number. */
function endedBefore(move: number): Promise<NodeJS.Signals | null> {
  const program = `
    import fs from 'node:fs/promises';
    import { writeFile } from 'node:fs/promises';
    import { syncBuiltinESMExports } from 'node:module';
    const { rename } = fs;
    let moves = 0;
    fs.rename = async (from, to) => {
      if (moves++ === ${move}) {
        process.kill(process.pid, 'SIGKILL');
        await new Promise(() => setTimeout(() => {}, 60_000));
      }
      return rename(from, to);
    };
    syncBuiltinESMExports();
    const { replaceFiles } = await import(${JSON.stringify(new URL('./replace-files.ts', import.meta.url).href)});
    await replaceFiles(${JSON.stringify(dir)}, ${JSON.stringify(names)}, async (folder) => {
      for (const name of ${JSON.stringify(names)}) await writeFile(folder + '/' + name, 'new ' + name);
    });`;
  const flags = ['--import', import.meta.resolve('tsx'), '--input-type=module', '--eval', program];
  const child = spawn(process.execPath, flags, { stdio: ['ignore', 'ignore', 'inherit'] });
  return new Promise((resolve) => {
    child.on('close', (_, signal) => resolve(signal));
  });
}

describe.skipIf(process.platform === 'win32')(
  'a process ended while it moves files (not on Windows, which has no signals)',
  () => {
    // Three old files step aside, three new ones come in.
    it.each([0, 1, 2, 3, 4, 5])('before move %i results in the old files or the new ones', async (move) => {
      await replaceFiles(dir, names, write('old'));
      expect(await endedBefore(move)).toBe('SIGKILL');
      const left = await contents();
      // Whoever finds the last one finds all, and no weights stand beside the model of others.
      if (left.description) expect(left).toEqual(all('old'));
      if (left.model) expect(left.model.slice(0, 3)).toBe(left.weights!.slice(0, 3));
      await finishMoves(dir, names);
      expect(await contents()).toEqual(all(move === 0 ? 'old' : 'new'));
      await replaceFiles(dir, names, write('newer'));
      expect(await readdir(dir)).toEqual([...names].sort());
      expect(await contents()).toEqual(all('newer'));
    });

    it('is taken over by the next saving', async () => {
      await replaceFiles(dir, names, write('old'));
      await endedBefore(4);
      await replaceFiles(dir, names, write('newer'));
      expect(await readdir(dir)).toEqual([...names].sort());
      expect(await contents()).toEqual(all('newer'));
    });

    it('into an empty folder', async () => {
      await endedBefore(4);
      await finishMoves(dir, names);
      expect(await contents()).toEqual(all('new'));
    });
  },
);

it('what a living process or another machine is doing is left alone', async () => {
  const folders = [`.saving-elsewhere-${2 ** 22 - 1}-abcdef`, '.saving-of-somebody'];
  await replaceFiles(dir, names, async (folder) => {
    await write('new')(folder);
    // A second saving in the meantime, by this process.
    for (const name of folders)
      await replaceFiles(join(dir, name), ['description'], (f) => writeFile(join(f, 'description'), 'x'));
    await finishMoves(dir, names);
    expect(await contents()).toEqual({});
  });
  expect(await contents()).toEqual(all('new'));
  expect((await readdir(dir)).filter((name) => name.startsWith('.')).sort()).toEqual(folders.sort());
});
