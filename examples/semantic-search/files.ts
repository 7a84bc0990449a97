// The text files of a folder.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A text file, by its path below the folder. */
export interface TextFile {
  readonly path: string;
  readonly text: string;
}

const isText = (name: string): boolean => /\.(txt|text|md|rst|adoc|org)$/i.test(name);
const isHidden = (name: string): boolean => name.startsWith('.') || name === 'node_modules';

/** The text files of a folder and of the folders in it, in the order of their paths. A file that is not UTF-8 is left out, and reported. */
export async function textFiles(folder: string, report: (problem: string) => void, below = ''): Promise<readonly TextFile[]> {
  const entries = await readdir(join(folder, below), { withFileTypes: true });
  const files: TextFile[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = below ? `${below}/${entry.name}` : entry.name;
    if (isHidden(entry.name)) continue;
    if (entry.isDirectory()) files.push(...(await textFiles(folder, report, path)));
    else if (entry.isFile() && isText(entry.name)) {
      try {
        files.push({ path, text: new TextDecoder('utf-8', { fatal: true }).decode(await readFile(join(folder, path))) });
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        report(`${path} is left out: it is not UTF-8`);
      }
    }
  }
  return files;
}
