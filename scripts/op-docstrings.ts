// The docstrings of core's public op functions, against the tables of the targets.
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import * as core from '../packages/core/src/index';
import { domainOf, type Op } from '../packages/core/src/ir/define-op';
import { rowOf } from '../packages/core/src/lower/target';
import * as lowering from '../packages/core/src/lowering';
import { claimedOps } from './doc-claims';
import { type Docstring, parseDoc } from './docstrings';
import { sourceFiles } from './imports';
import { root } from './pnpm.mjs';

/** One function that makes values. */
export interface OpFunction {
  readonly name: string;
  /** The op of the standard that it emits first; absent for high-level ops and for compositions of several ops. */
  readonly op: Op | undefined;
  readonly doc: Docstring | undefined;
}

const source = join(root, 'packages/core/src');
/** Where they stand besides the files of ops. */
const others = [
  'autodiff/grad',
  'compile/generate',
  'layers/dropout',
  'layers/embedding',
  'layers/linear',
  'sequence/context',
  'sequence/derive',
  'sequence/layout',
];
/** What a function gives that makes values; a mask of values is none. */
const made = /(^|[^\w<])Value\b|OnnxAttentionResult/;
const { targets } = core;
const everything: Readonly<Record<string, unknown>> = { ...core, ...lowering, ...core.ops };

/** All that core exports and that gives values, in the order of the files. */
export async function opFunctions(): Promise<OpFunction[]> {
  const inOps = sourceFiles(join(source, 'ops')).filter((file) => !/\.(test|test-helper|cases)\.ts$/.test(file));
  const files = [...inOps, ...others.map((name) => join(source, `${name}.ts`))];
  const found = (await Promise.all(files.map(functionsIn))).flat();
  const bodies = new Map(found.map(({ name, body }) => [name, body]));
  return found.map(({ body, ...about }) => ({ ...about, op: opIn(body, bodies) }));
}

async function functionsIn(path: string) {
  const code = readFileSync(path, 'utf8');
  const module = (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  const parsed = ts.createSourceFile(path, code, ts.ScriptTarget.Latest, true);
  return parsed.statements.flatMap((statement) => {
    const [name, f] = functionIn(statement);
    // A file may have one of its own of the same name as a public one of another file.
    if (!name || !isPublic(module[name]) || !made.test(f?.type?.getText() ?? '')) return [];
    const comment = ts.getLeadingCommentRanges(code, statement.pos)?.findLast(({ pos }) => code.startsWith('/**', pos));
    const file = relative(root, path).replaceAll('\\', '/');
    return [{ name, doc: comment && parseDoc(code.slice(comment.pos, comment.end), file), body: f!.body?.getText() ?? '' }];
  });
}
const isPublic = (f: unknown): boolean => typeof f === 'function' && Object.values(everything).includes(f);

type WithBody = ts.FunctionDeclaration | ts.ArrowFunction;
function functionIn(statement: ts.Statement): readonly [name: string | undefined, f: WithBody | undefined] {
  if (ts.isFunctionDeclaration(statement)) return [statement.name?.text, statement];
  if (!ts.isVariableStatement(statement)) return [undefined, undefined];
  const { name, initializer } = statement.declarationList.declarations[0]!;
  return initializer && ts.isArrowFunction(initializer) ? [name.getText(), initializer] : [undefined, undefined];
}

// `apply(Gelu, …)` and `swish(x, 1)` name an op or a function that does; bodies of several statements may emit anything.
function opIn(body: string, bodies: ReadonlyMap<string, string>): Op | undefined {
  if (body.startsWith('{')) return undefined;
  const [, callee = '', first = ''] = /^(\w+)(?:<\w+>)?\((\w*)/.exec(body) ?? [];
  const op = everything[first] as Op | undefined;
  if (op && typeof op === 'object' && 'key' in op) return domainOf(op.key)[0] === '' ? op : undefined;
  return bodies.has(callee) && /^\w+\([^()]*\)$/.test(body) ? opIn(bodies.get(callee)!, bodies) : undefined;
}

const families: Readonly<Record<string, readonly core.Target[]>> = {
  portable: ([18, 21, 23] as const).map((opset) => targets.portable(opset)),
  cpu: [targets.cpu],
  wasm: [targets.wasm],
  webgpu: [targets.webgpu],
  cuda: [targets.cuda],
};
const runs = (family: string, op: Op): boolean =>
  families[family]!.some((t) => rowOf(t, op) && (domainOf(op.key)[0] !== '' || (op.since ?? 1) <= t.opset));
const isThere = (family: string, name: string): boolean =>
  families[family]!.some((t) => t.kernels[name] ?? t.kernels[`com.microsoft.${name}`]);

/** The line that an op of the standard deserves: where it has a kernel, and where its definition stands for it. */
export function lowersOf(op: Op): string {
  const there = Object.keys(families).filter((family) => runs(family, op));
  const without = Object.keys(families).filter((family) => !there.includes(family));
  if (!without.length) return `everywhere: ${op.key}`;
  if (!there.length) return 'everywhere: primitives';
  return `${there.join(', ')}: ${op.key} · ${without.join(', ')}: primitives`;
}

/** Entries that every op function has. */
export const required = ['Shapes', 'Throws', 'Lowers'] as const;

/** What docstrings of op functions lack, and ops that they name for targets without a kernel. */
export function wrongOpDocs(functions: readonly OpFunction[]): string[] {
  return functions.flatMap(({ name, op, doc }) => {
    const lacking = required.filter((entry) => !doc?.entries.has(entry)).map((entry) => `${name}: no ${entry}`);
    const lowers = doc?.entries.get('Lowers');
    if (lowers === undefined) return lacking;
    if (op)
      return lowers === lowersOf(op) ? lacking : [...lacking, `${name}: expected "Lowers   ${lowersOf(op)}", got "${lowers}"`];
    const claimed = claimedOps(lowers);
    if (typeof claimed === 'string') return [...lacking, `${name}: no list of targets in "${claimed}"`];
    const absent = [...claimed].flatMap(([family, named]) =>
      named.filter((each) => !isThere(family, each)).map((each) => `${name}: ${family} has no ${each}`),
    );
    return [...lacking, ...(claimed.size ? [] : [`${name}: no target in "${lowers}"`]), ...absent];
  });
}
