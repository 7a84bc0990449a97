// The docstrings of blocks, taken apart.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { sourceFiles } from './imports';
import { root } from './pnpm.mjs';

/** The docstring above a block's definition. */
export interface Docstring {
  /** The sentences above the first entry. */
  readonly text: string;
  /** `Shapes`, `Dtypes`, … */
  readonly entries: ReadonlyMap<string, string>;
  /** Relative to the repository. */
  readonly file: string;
}

const entryNames = 'Shapes|Dtypes|Masks|Cost|Throws|Source|Lowers|Example';

export function parseDoc(comment: string, file: string): Docstring {
  const lines = comment
    .replace(/^\/\*\*|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd());
  const entries = new Map<string, string>();
  const text: string[] = [];
  let open: string | undefined;
  for (const line of lines) {
    const [, name, rest] = new RegExp(`^(${entryNames}) {2,}(.+)$`).exec(line) ?? [];
    open = name ?? open;
    if (name) entries.set(name, rest!);
    else if (open && /^ {4,}\S/.test(line)) entries.set(open, `${entries.get(open)} ${line.trim()}`);
    else if (!open) text.push(line);
  }
  return { text: text.join('\n').trim(), entries, file };
}

/** By kind and name of the block: `attention linformer`. */
export type Docstrings = ReadonlyMap<string, Docstring>;

/** Those of all blocks of the workspace. */
export function docstrings(): Docstrings {
  const found = new Map<string, Docstring>();
  const files = readdirSync(join(root, 'packages')).flatMap((name) => sourceFiles(join(root, 'packages', name, 'src')));
  for (const path of files.filter((file) => !/\.test(-helper)?\.ts$/.test(file))) {
    const code = readFileSync(path, 'utf8');
    if (!code.includes('defineBlock(')) continue;
    const file = relative(root, path).replaceAll('\\', '/');
    const source = ts.createSourceFile(path, code, ts.ScriptTarget.Latest, true);
    for (const statement of source.statements) {
      const definition = definitionIn(statement);
      if (!definition) continue;
      const comment = ts.getLeadingCommentRanges(code, statement.pos)?.at(-1);
      if (comment) found.set(definition, parseDoc(code.slice(comment.pos, comment.end), file));
    }
  }
  return found;
}

function definitionIn(statement: ts.Statement): string | undefined {
  if (!ts.isVariableStatement(statement)) return undefined;
  const call = statement.declarationList.declarations[0]?.initializer;
  const [argument] = call && ts.isCallExpression(call) && call.expression.getText() === 'defineBlock' ? call.arguments : [];
  if (!argument || !ts.isObjectLiteralExpression(argument)) return undefined;
  const textOf = (name: string): string | undefined => {
    const property = argument.properties.find((p) => p.name?.getText() === name);
    return property && ts.isPropertyAssignment(property) && ts.isStringLiteral(property.initializer)
      ? property.initializer.text
      : undefined;
  };
  return `${textOf('kind')} ${textOf('name')}`;
}
