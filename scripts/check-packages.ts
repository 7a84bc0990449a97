/**
 * Packs every package as it would be published and checks the packed files with publint, are-the-types-wrong, and a scratch project
 * outside this workspace. It imports each subpath in ESM and CommonJS, checks their types with no onnxruntime around,
 * and bundles them with Vite. Ends with the size of every block in a bundle. Needs `npm run build` before.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ts from 'typescript';
import { type Import, measure, table, violations } from './bundle-size';
import { markdownExample } from './doc-examples';
import { pack } from './pack.mjs';
import { root } from './pnpm.mjs';

type Manifest = { name: string; exports: Record<string, unknown>; dependencies?: Record<string, string> };

/** Runs a command, whose output shows only when it fails. */
function run(cwd: string, command: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', shell: process.platform === 'win32' });
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')} failed in ${cwd} (status ${status}):\n${stdout}${stderr}`);
  return stdout;
}
const node = (cwd: string, ...args: readonly string[]) => run(cwd, process.execPath, ...args);
const tool = (path: string) => join(root, 'node_modules', path);

/** Every subpath that the installed packages export, as it is imported. */
function subpaths(scratch: string): string[] {
  return readdirSync(join(root, 'packages')).flatMap((folder) => {
    const { name } = JSON.parse(readFileSync(join(root, 'packages', folder, 'package.json'), 'utf8')) as Manifest;
    const packed = JSON.parse(readFileSync(join(scratch, 'node_modules', name, 'package.json'), 'utf8')) as Manifest;
    if (JSON.stringify(packed).includes('@onnxformers/source')) throw new Error(`${name} is packed with its source condition`);
    return Object.keys(packed.exports)
      .filter((subpath) => subpath !== './package.json')
      .map((subpath) => name + subpath.slice(1));
  });
}

function install(scratch: string, tarballs: readonly string[]): void {
  writeFileSync(join(scratch, 'package.json'), JSON.stringify({ name: 'scratch', private: true, type: 'module' }));
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const types = `@types/node@${devDependencies['@types/node']}`;
  run(scratch, 'npm', 'install', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts', types, ...tarballs);
  for (const runtime of ['onnxruntime-node', 'onnxruntime-web', 'onnxruntime-common']) {
    if (existsSync(join(scratch, 'node_modules', runtime)))
      throw new Error(`${runtime} was installed, but it is an optional peer`);
  }
}

/** Functions of a subpath that take more than the one of the index: in Node a folder too. */
const extended = ['fromPretrained', 'pipeline'].map((name) => `@onnxformers/models/node ${name}`);

/** Both module systems must offer the same names, and a block must be one object, whether it comes from the index or by its subpath. */
function importAll(scratch: string, names: readonly string[]): Import[] {
  const listing = `
    const byName = new Map(found);
    for (const [name, module] of found) {
      const whole = byName.get(name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/'));
      const index = name.endsWith('/ops') ? whole.ops : whole; // the index has the ops in a namespace
      for (const key of Object.keys(module)) {
        if (${JSON.stringify(extended)}.includes(name + ' ' + key)) continue;
        if (key in index && index[key] !== module[key]) throw new Error(key + ' of ' + name + ' is not the one of its index: two copies');
      }
    }
    console.log(JSON.stringify(found.map(([name, module]) => ({ name, exports: Object.keys(module).sort() }))));`;
  const list = JSON.stringify(names);
  writeFileSync(
    join(scratch, 'esm.mjs'),
    `const found = [];\nfor (const name of ${list}) found.push([name, await import(name)]);${listing}\n`,
  );
  writeFileSync(join(scratch, 'cjs.cjs'), `const found = ${list}.map((name) => [name, require(name)]);${listing}\n`);
  const [esm = '', cjs] = ['esm.mjs', 'cjs.cjs'].map((file) => node(scratch, file));
  if (esm !== cjs) throw new Error(`ESM and CommonJS export different names:\n${esm}\n${cjs}`);
  console.log(`${names.length} subpaths imported in ESM and CommonJS`);
  return JSON.parse(esm);
}

/** The thread of a worker runner finds its script in both module systems. The runtime is a stub that returns its feeds. */
function startWorkers(scratch: string): void {
  const runtime = `
    export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
    const session = { inputNames: ['x'], outputNames: ['y'], run: async ({ x }) => ({ y: x }), release: async () => {} };
    export const InferenceSession = { create: async () => session };`;
  writeFileSync(join(scratch, 'echo.mjs'), runtime);
  const program = `
    const port = (name) => ({ name, dtype: 'float32', dims: ['n'] });
    const model = { signature: { inputs: [port('x')], outputs: [port('y')] }, providers: ['cpu'], file: Uint8Array.of(0), nodes: new Map(), assumptions: [] };
    const main = async () => {
      const run = await createWorkerRunner(model, { runtime: new URL('file://' + process.cwd() + '/echo.mjs') });
      const { y } = await run({ x: { dtype: 'float32', dims: [2], data: Float32Array.of(3, 5) } });
      await run.dispose();
      console.log(String(y.data));
    };
    main();`;
  writeFileSync(join(scratch, 'worker.mjs'), `import { createWorkerRunner } from '@onnxformers/core/node';${program}\n`);
  writeFileSync(join(scratch, 'worker.cjs'), `const { createWorkerRunner } = require('@onnxformers/core/node');${program}\n`);
  for (const file of ['worker.mjs', 'worker.cjs']) {
    const said = node(scratch, file).trim();
    if (said !== '3,5') throw new Error(`${file}: a worker runner gave ${said || 'nothing'}`);
  }
  console.log('worker runners start in ESM and CommonJS');
}

/** A page whose code is a whole program with a worker thread, which has a file of its own only in packed packages. */
function runPage(scratch: string, page: string): void {
  symlinkSync(join(root, 'node_modules', 'onnxruntime-node'), join(scratch, 'node_modules', 'onnxruntime-node'), 'junction');
  const [program] = markdownExample(page, readFileSync(join(root, page), 'utf8'));
  const code = program!.lines.map(({ text }) => text).join('\n');
  const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true };
  writeFileSync(join(scratch, 'page.mjs'), ts.transpileModule(code, { compilerOptions: options }).outputText);
  node(scratch, 'page.mjs');
  console.log(`the code of ${page} runs`);
}

/** How consumers resolve packages: Node's own rules, in both module systems, and those of bundlers. */
const resolutions = [
  { module: 'node16', moduleResolution: 'node16', files: ['types.mts', 'types.cts'] },
  { module: 'nodenext', moduleResolution: 'nodenext', files: ['types.mts', 'types.cts'] },
  { module: 'esnext', moduleResolution: 'bundler', files: ['types.mts'] },
];

/**
 * A consumer's program that uses every name of every subpath. What exists at run time must be declared, and the
 * declarations must be self-contained: no DOM, no onnxruntime, no skipLibCheck.
 */
function typeCheck(scratch: string, imports: readonly Import[]): void {
  const everyName = imports.map(({ name, exports }, i) => {
    const names = exports.map((each) => `${each} as m${i}_${each}`);
    const values = exports.map((each) => `m${i}_${each}`);
    return `import { ${names.join(', ')} } from '${name}';\nexport const all${i} = [${values.join(', ')}] as readonly unknown[];\n`;
  });
  // What files of core merge into the interfaces of others; a block by its own path; an op by the path of all ops.
  const program = `import { GraphBuilder, type Value, compile, isModule, targets } from '@onnxformers/core';
    import { add } from '@onnxformers/core/ops';
    import { nystrom } from '@onnxformers/attention/nystrom';
    const g = new GraphBuilder();
    const x: Value = g.input('x', 'float32', ['n']);
    export const y: Value = add(g.ops.add(x, 1), x);
    export const about = (m: unknown) => isModule(m) && m.about.kindDefinition?.summary.length;
    const heads = ['float32', ['batch', 3, 'seq', 5]] as const;
    export const model = compile(nystrom({ landmarks: 3 }), { target: targets.cpu, inputs: { q: heads, k: heads, v: heads } });
    export const outputs: readonly string[] = model.signature.outputs.map((port) => port.name);
    // @ts-expect-error: there is no such op
    g.ops.addition(y, 1);
    // @ts-expect-error: a field of the block has another type
    nystrom({ landmarks: 'three' });
    // @ts-expect-error: there is no such field
    nystrom({ landmark: 3 });\n`;
  for (const file of ['types.mts', 'types.cts']) writeFileSync(join(scratch, file), everyName.join('') + program);
  const options = ['--noEmit', '--strict', '--skipLibCheck', 'false', '--target', 'es2022', '--lib', 'es2023', '--types', 'node'];
  for (const { module, moduleResolution, files } of resolutions) {
    node(scratch, tool('typescript/bin/tsc'), ...options, '--module', module, '--moduleResolution', moduleResolution, ...files);
    console.log(`${imports.length} subpaths type-checked with moduleResolution ${moduleResolution}`);
  }
}

const work = mkdtempSync(join(tmpdir(), 'check-packages-'));
try {
  const [tarballFolder, scratch] = [join(work, 'tarballs'), join(work, 'scratch')];
  mkdirSync(tarballFolder);
  mkdirSync(scratch);
  const tarballs = pack(tarballFolder);
  for (const tarball of tarballs) {
    node(work, tool('publint/src/cli.js'), '--strict', tarball);
    node(work, tool('@arethetypeswrong/cli/dist/index.js'), '--profile', 'node16', '--no-emoji', tarball);
  }
  console.log(`${tarballs.length} packages packed; publint and attw find nothing`);
  install(scratch, tarballs);
  const names = subpaths(scratch);
  const imports = importAll(scratch, names);
  startWorkers(scratch);
  typeCheck(scratch, imports);
  runPage(scratch, 'docs/guides/how-compilation-works.md');
  const sizes = await measure(scratch, imports);
  console.log(table(sizes));
  const wrong = violations(sizes);
  for (const line of wrong) console.error(line);
  if (wrong.length > 0) process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
