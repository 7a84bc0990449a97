// The comment above each field of a block: what editors show of an option, written from the field's own `doc`, `unit` and default.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import type { AnyBlock } from '../packages/core/src/index';
import * as all from '../packages/onnxformers/src/index';
import { sourceFiles } from './imports';
import { root } from './pnpm.mjs';

type Field = AnyBlock['fields'][string];

/** One line: `the epsilon of the norm. Default: 0.00001.` */
export function fieldText(f: Field): string {
  const what = f.unit && !f.doc.includes(f.unit) ? `${f.doc} (${f.unit})` : f.doc;
  return [what, presenceOf(f)].filter(Boolean).join('. ').concat('.');
}

function presenceOf(f: Field): string {
  const inherited = f.inherit ? 'Inherited from the enclosing block' : '';
  if (f.default === undefined) return inherited || (f.optional ? 'Optional' : '');
  const fallback = `Default: ${shownDefault(f)}`;
  return inherited ? `${inherited}. ${fallback}` : fallback;
}

function shownDefault(f: Field): string {
  const given = f.default as unknown;
  if (typeof given === 'function' && 'blockName' in given) return `\`${String(given.blockName)}\``;
  if (typeof given === 'function') return 'computed from other options';
  return `\`${JSON.stringify(given)}\``;
}

/** The field of a name in a file's blocks, or in those that spread what the file declares. */
function lookup(file: string, declared: string | undefined): (name: string) => Field | undefined {
  const blocks: readonly AnyBlock[] = all.zoo.blocks;
  const source = readFileSync(file, 'utf8');
  const folder = file.slice(0, file.indexOf('/src/'));
  const users =
    declared === undefined
      ? [file]
      : sourceFiles(join(folder, 'src')).filter((f) => readFileSync(f, 'utf8').includes(`...${declared}`));
  const here = users.flatMap((user) => {
    const text = user === file ? source : readFileSync(user, 'utf8');
    return blocks.filter(
      // Indented as in a definition: examples name other blocks.
      (b) => text.includes(`\n  name: '${b.blockName}',`) && text.includes(`kind: '${b.kind}'`) && text.includes('defineBlock('),
    );
  });
  return (name) => here.map(({ fields }) => fields[name]).find((f) => f !== undefined);
}

/** The object literals that hold fields: `fields: { … }` of a definition, and constants that such a one spreads. */
function literalsOf(parsed: ts.SourceFile): { object: ts.ObjectLiteralExpression; declared?: string }[] {
  const found: { object: ts.ObjectLiteralExpression; declared?: string }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAssignment(node) && node.name.getText() === 'fields' && ts.isObjectLiteralExpression(node.initializer))
      found.push({ object: node.initializer });
    else if (ts.isVariableDeclaration(node) && /Fields$/.test(node.name.getText())) {
      const value = node.initializer && ts.isAsExpression(node.initializer) ? node.initializer.expression : node.initializer;
      if (value && ts.isObjectLiteralExpression(value)) found.push({ object: value, declared: node.name.getText() });
    }
    ts.forEachChild(node, visit);
  };
  visit(parsed);
  return found;
}

/** The file with the comments that its fields should have. */
export function withFieldDocs(file: string, text: string): string {
  const parsed = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const edits: { start: number; end: number; by: string }[] = [];
  for (const { object, declared } of literalsOf(parsed)) {
    const fieldOf = lookup(file, declared);
    for (const property of object.properties) {
      if (!ts.isPropertyAssignment(property)) continue;
      const field = fieldOf(property.name.getText().replace(/^'|'$/g, ''));
      if (!field) continue;
      const start = property.getStart(parsed);
      const comment = ts.getLeadingCommentRanges(text, property.pos)?.findLast(({ pos }) => text.startsWith('/**', pos));
      const indent = /^[ \t]*$/.exec(text.slice(text.lastIndexOf('\n', start - 1) + 1, start))?.[0] ?? '';
      edits.push({ start: comment?.pos ?? start, end: start, by: `/** ${fieldText(field)} */\n${indent}` });
    }
  }
  return edits.sort((a, b) => b.start - a.start).reduce((t, { start, end, by }) => t.slice(0, start) + by + t.slice(end), text);
}

/** Path → source, for every file that declares fields of blocks. Formatting is the formatter's. */
export function fieldDocs(): ReadonlyMap<string, string> {
  const files = readdirSync(join(root, 'packages'))
    .filter((name) => name !== 'core')
    .flatMap((name) => sourceFiles(join(root, 'packages', name, 'src')))
    .filter((file) => !/\.test(-helper)?\.ts$/.test(file));
  return new Map(
    files.flatMap((file) => {
      const text = readFileSync(file, 'utf8');
      return /\bfields: \{|Fields = \{/.test(text)
        ? [[relative(root, file).replaceAll('\\', '/'), withFieldDocs(file, text)] as const]
        : [];
    }),
  );
}

/** The comments of a text, to compare two of them whatever their formatting. */
export const commentsOf = (text: string): string =>
  [...text.matchAll(/^\s*\/\*\* (.*) \*\/$/gm)].map(([, comment]) => comment).join('\n');
