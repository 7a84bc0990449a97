import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { sourceFiles } from './imports';
import { root } from './pnpm.mjs';

/** Code from a document, line by line, each with the line number that it has there. */
export interface Example {
  readonly file: string;
  readonly lines: readonly { readonly text: string; readonly at: number }[];
}

/**
 * The `ts` fences of a Markdown page as one example: each fence sees the names of those before it, and may use them anew. Imports and merged declarations
 * come first.
 */
export function markdownExample(file: string, text: string): Example[] {
  const imports: { text: string; at: number }[] = [];
  const imported = new Set<string>();
  const body: { text: string; at: number }[] = [];
  let inside = false;
  let fences = 0;
  let open = ''; // an import that goes on in the next line
  let merging = false; // in a `declare module`, which stands outside of all blocks
  text.split('\n').forEach((line, index) => {
    const at = index + 1;
    if (/^\s*```/.test(line)) {
      inside = !inside && /^\s*```ts\s*$/.test(line);
      if (inside) {
        fences++;
        body.push({ text: '{', at });
      }
    } else if (inside && (merging || line.startsWith('declare module '))) {
      imports.push({ text: line, at });
      merging = line !== '}';
    } else if (inside && (open || (/^\s*import\b/.test(line) && !/^\s*import\(/.test(line)))) {
      open = `${open} ${line.trim()}`.trim();
      if (!/['"];?$/.test(open)) return;
      const news = withoutKnown(open, imported);
      if (news) imports.push({ text: news, at });
      open = '';
    } else if (inside) body.push({ text: line.replace(/^(\s*)export (?=const|function|class|interface|type)/, '$1'), at });
  });
  return fences === 0 ? [] : [{ file, lines: [...imports, ...body, { text: '}'.repeat(fences), at: 0 }] }];
}

/** An import of what no fence before has imported; fences may each import all that they use. */
function withoutKnown(line: string, known: Set<string>): string | undefined {
  const [, names, from] = /^import \{(.+)\}( from .+)$/.exec(line) ?? [];
  const all = names?.split(',').map((name) => name.trim()) ?? [line];
  const news = all.filter((name) => name && !known.has(name.replace(/^type /, '')));
  for (const name of news) known.add(name.replace(/^type /, ''));
  if (names === undefined || news.length === 0) return news[0];
  return `import { ${news.join(', ')} }${from}`;
}

/** The `Example` entries of a source file's docstrings; a line that is indented more than ` * ` continues the one before. */
export function docstringExamples(file: string, text: string): Example[] {
  const found: { text: string; at: number }[][] = [];
  let open = false;
  text.split('\n').forEach((line, index) => {
    const start = /^\s*\* Example {2,}(.+)$/.exec(line)?.[1];
    const more = /^\s*\* {5,}(.+)$/.exec(line)?.[1];
    if (start !== undefined) found.push([{ text: start, at: index + 1 }]);
    else if (open && more !== undefined) found.at(-1)?.push({ text: more, at: index + 1 });
    open = start !== undefined || (open && more !== undefined);
  });
  return found.map((lines) => ({ file, lines }));
}

/** All examples of the workspace. */
export function allExamples(): Example[] {
  const pages = [
    '.',
    'docs',
    ...['packages', 'examples'].flatMap((at) => readdirSync(join(root, at)).map((name) => join(at, name))),
  ];
  const markdown = pages.flatMap((folder) => {
    const recursive = folder === 'docs';
    if (!existsSync(join(root, folder))) return [];
    const names = readdirSync(join(root, folder), { recursive, encoding: 'utf8' }).filter((name) => name.endsWith('.md'));
    return names.map((name) => join(root, folder, name));
  });
  const sources = readdirSync(join(root, 'packages')).flatMap((name) => sourceFiles(join(root, 'packages', name, 'src')));
  const shipped = sources.filter((file) => !file.endsWith('.test.ts'));
  return [
    ...markdown.flatMap((file) => markdownExample(file, readFileSync(file, 'utf8'))),
    ...shipped.flatMap((file) => docstringExamples(file, readFileSync(file, 'utf8'))),
  ];
}

/** Specifier → source file, for everything that the packages export. */
function workspacePaths(): Record<string, string[]> {
  const paths: Record<string, string[]> = {};
  for (const folder of readdirSync(join(root, 'packages'))) {
    const { name, exports } = JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8'));
    for (const [subpath, target] of Object.entries(exports as Record<string, { '@onnxformers/source'?: string }>)) {
      const source = target['@onnxformers/source'];
      if (source) paths[name + subpath.slice(1)] = [join(root, 'packages', folder, source)];
    }
  }
  return paths;
}

/** What the one-line examples of docstrings take for granted, besides everything that the packages export. */
const prelude = join(root, 'scripts', 'doc-prelude.ts');

/** An import for each exported name that an example uses without declaring it; its own package comes first. */
function missingImports(code: string, file: string, exported: ReadonlyMap<string, readonly string[]>): string {
  const declarations = /\b(?:const|let|function)\s+(?:\{([^}]*)\}|\[([^\]]*)\]|([\w$]+))/g;
  const declared = new Set([...code.matchAll(declarations)].flatMap((m) => (m[1] ?? m[2] ?? m[3] ?? '').split(/[\s,:]+/)));
  const own = `${file.slice(0, file.lastIndexOf('/src/'))}/`;
  return [...new Set(code.match(/[A-Za-z_$][\w$]*/g))]
    .filter((name) => !declared.has(name) && exported.has(name))
    .map((name) => {
      const homes = exported.get(name) ?? [];
      const home = homes.find((each) => each.startsWith(own)) ?? homes[0] ?? '';
      return `import { ${name} } from '${home.replace(/\.ts$/, '')}';`;
    })
    .join(' ');
}

/** Type-checks examples and returns what is wrong, as `file:line: message`. */
export function check(examples: readonly Example[]): string[] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.base.json'), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
  const paths = workspacePaths();
  const settings: ts.CompilerOptions = {
    ...options,
    noEmit: true,
    declaration: false,
    paths,
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts'],
  };
  const exported = exportedNames([...Object.values(paths).flat(), prelude], settings);

  const virtual = new Map(
    examples.map((example, i) => {
      const code = example.lines.map(({ text }) => text).join('\n');
      const imports = example.file.endsWith('.md') ? '' : missingImports(code, example.file, exported);
      return [join(root, `doc-example-${i}.ts`), `${imports}\n${code}\nexport {};\n`] as const;
    }),
  );
  const host = ts.createCompilerHost(settings);
  const { readFile, fileExists } = host;
  host.readFile = (name) => virtual.get(name) ?? readFile.call(host, name);
  host.fileExists = (name) => virtual.has(name) || fileExists.call(host, name);
  const { getSourceFile } = host;
  host.getSourceFile = (name, language, ...rest) => {
    const text = virtual.get(name);
    return text === undefined ? getSourceFile.call(host, name, language, ...rest) : ts.createSourceFile(name, text, language);
  };
  const names = [...virtual.keys()];
  const program = ts.createProgram(names, settings, host);
  return names.flatMap((name, i) => {
    const source = program.getSourceFile(name);
    const faults = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)];
    return faults.map(({ start = 0, messageText }) => {
      const line = source ? source.getLineAndCharacterOfPosition(start).line : 0;
      const { file, lines } = examples[i] as Example;
      return `${relative(root, file)}:${lines[Math.max(0, line - 1)]?.at ?? 0}: ${ts.flattenDiagnosticMessageText(messageText, '\n  ')}`;
    });
  });
}

/** Exported name → the files that export it, in the given order. */
function exportedNames(files: readonly string[], settings: ts.CompilerOptions): Map<string, string[]> {
  const program = ts.createProgram([...files], settings);
  const checker = program.getTypeChecker();
  const homes = new Map<string, string[]>();
  for (const file of files) {
    const source = program.getSourceFile(file);
    const symbol = source && checker.getSymbolAtLocation(source);
    for (const { name } of symbol ? checker.getExportsOfModule(symbol) : []) homes.set(name, [...(homes.get(name) ?? []), file]);
  }
  return homes;
}
