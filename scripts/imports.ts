import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** All TypeScript files below a folder, as absolute paths in a fixed order. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.split(/[\\/]/).includes('node_modules'))
    .map((path) => join(folder, path))
    .sort();
}

/** What a file imports, re-exports or requires, types included, as it is written there. */
export function importsOf(file: string): string[] {
  return ts.preProcessFile(readFileSync(file, 'utf8'), true, true).importedFiles.map(({ fileName }) => fileName);
}

/** The source file that a relative import means, or undefined where there is none. */
export function resolveRelative(from: string, specifier: string): string | undefined {
  const path = join(dirname(from), specifier);
  return [path, `${path}.ts`, join(path, 'index.ts')].find((candidate) => candidate.endsWith('.ts') && existsSync(candidate));
}

/** The source file that an import means, or undefined where it lies outside the workspace. */
export function resolveImport(from: string, specifier: string, root: string): string | undefined {
  if (specifier.startsWith('.')) return resolveRelative(from, specifier);
  const [, name, subpath] = /^(?:@onnxformers\/)?([^/]+)(?:\/(.+))?$/.exec(specifier) ?? [];
  const folder = join(root, 'packages', name ?? '');
  if (!/^(@onnxformers\/|onnxformers(\/|$))/.test(specifier) || !existsSync(folder)) return undefined;
  const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const source = exports[subpath ? `./${subpath}` : '.']?.['@onnxformers/source'];
  return source && join(folder, source);
}

/** The files that the given ones need by relative imports, themselves included. */
export function reach(entries: readonly string[]): Set<string> {
  const found = new Set<string>();
  const visit = (file: string): void => {
    if (found.has(file) || !existsSync(file)) return;
    found.add(file);
    for (const specifier of importsOf(file)) {
      const target = specifier.startsWith('.') ? resolveRelative(file, specifier) : undefined;
      if (target) visit(target);
    }
  };
  for (const entry of entries) visit(entry);
  return found;
}
