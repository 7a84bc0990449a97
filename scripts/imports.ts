import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** All TypeScript files below a folder, as absolute paths in a fixed order. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      // Not even read: tests that run at the same time write into a .cache and remove it again.
      if (entry.isDirectory()) return /^(\.|node_modules$|dist$)/.test(entry.name) ? [] : sourceFiles(path);
      return entry.isFile() && path.endsWith('.ts') ? [path] : [];
    })
    .sort();
}

/** What a file imports, re-exports or requires, types included, as it is written there. */
export function importsOf(file: string): string[] {
  // preProcessFile overlooks re-exports under a name.
  const code = readFileSync(file, 'utf8').replaceAll(/^export \* as \w+ from/gm, 'export * from');
  return ts.preProcessFile(code, true, true).importedFiles.map(({ fileName }) => fileName);
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

/** Files that import each other, through others too: each circle as a sorted list. Tarjan 1972, strongly connected components. */
export function circles(arrows: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const visit = (file: string): void => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    open.push(file);
    for (const target of arrows.get(file) ?? []) {
      if (!order.has(target)) visit(target);
      if (open.includes(target)) lowest.set(file, Math.min(lowest.get(file)!, lowest.get(target)!));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const circle = open.splice(open.indexOf(file));
    if (circle.length > 1 || arrows.get(file)?.includes(file)) found.push(circle.sort());
  };
  for (const file of arrows.keys()) if (!order.has(file)) visit(file);
  return found.sort(([a], [b]) => (a! < b! ? -1 : 1));
}

/** What each of these files imports of the workspace, types included. */
export function arrowsBetween(files: readonly string[], root: string): ReadonlyMap<string, readonly string[]> {
  return new Map(
    files.map((file) => [
      file,
      importsOf(file).flatMap((specifier) => {
        const target = resolveImport(file, specifier, root);
        return target ? [target] : [];
      }),
    ]),
  );
}
