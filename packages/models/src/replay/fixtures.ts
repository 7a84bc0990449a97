// npm run fixtures:hf -- DIR [--target T] [--dtype D] [--only NAME] [--json FILE]
import { readdir, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { OnnxformersError, type Ort, targets } from '@onnxformers/core';
import { readCase } from './case';
import { type Outcome, type Place, replay } from './replay';
import { replayTokenizer } from './tokenizer';

const usage = `npm run fixtures:hf -- DIR [--target T …] [--dtype D] [--only NAME …] [--json FILE]
  DIR       a folder of recorded cases, or one case: config.json, safetensors, expected.json, expected.safetensors
  --target  portable, portable-18, portable-21, cpu, cuda, webgpu, wasm; default portable and cpu
  --dtype   float32 (default) or float16
  --only    names of cases
  --json    writes every outcome and the totals`;

const places: Readonly<Record<string, () => Place['target']>> = {
  portable: () => targets.portable(),
  'portable-18': () => targets.portable(18),
  'portable-21': () => targets.portable(21),
  cpu: () => targets.cpu,
  cuda: () => targets.cuda,
  webgpu: () => targets.webgpu,
  wasm: () => targets.wasm,
};

async function placeOf(name: string, precision: string): Promise<Place> {
  if (!Object.hasOwn(places, name)) throw new RangeError(`unknown target "${name}"\n${usage}`);
  if (precision !== 'float32' && precision !== 'float16') throw new RangeError(`unknown dtype "${precision}"\n${usage}`);
  const web = name === 'webgpu' || name === 'wasm';
  const ort = (web ? await import('onnxruntime-web') : await import('onnxruntime-node')) as unknown as Ort;
  return { target: places[name]!(), ort, precision };
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (about) => about.isFile(),
    () => false,
  );

const isTokenizerCase = (folder: string): Promise<boolean> => isFile(join(folder, 'examples.json'));
const isCase = async (folder: string): Promise<boolean> =>
  (await isFile(join(folder, 'expected.safetensors'))) || (await isTokenizerCase(folder));

/** The cases of a folder, or the folder itself if it is one. */
async function casesIn(folder: string): Promise<string[]> {
  if (await isCase(folder)) return [folder];
  const names = (await readdir(folder)).sort();
  const found: string[] = [];
  for (const name of names) if (await isCase(join(folder, name))) found.push(join(folder, name));
  return found;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      target: { type: 'string', multiple: true },
      only: { type: 'string', multiple: true },
      dtype: { type: 'string' },
      json: { type: 'string' },
    },
  });
  const [folder] = positionals;
  if (!folder || positionals.length > 1) throw new RangeError(usage);
  const names = values.target ?? ['portable', 'cpu'];
  const at = await Promise.all(names.map((name) => placeOf(name, values.dtype ?? 'float32')));
  const outcomes: (Outcome & { target: string })[] = [];
  for (const path of await casesIn(folder)) {
    if (await isTokenizerCase(path)) {
      if (values.only && !values.only.includes(basename(path))) continue;
      const outcome = { target: 'any', ...(await replayTokenizer(path.replaceAll('\\', '/'))) };
      outcomes.push(outcome);
      console.log(line(outcome));
      continue;
    }
    const recorded = await readCase(path.replaceAll('\\', '/'));
    if (values.only && !values.only.includes(recorded.name)) continue;
    for (const [i, place] of at.entries()) {
      const outcome = { target: names[i]!, ...(await replay(recorded, place)) };
      outcomes.push(outcome);
      console.log(line(outcome));
    }
  }
  const total = totalsOf(outcomes);
  console.log(JSON.stringify({ total }));
  if (values.json) await writeFile(values.json, `${JSON.stringify({ total, cases: outcomes }, null, 1)}\n`);
  return total.failed || outcomes.length === 0 ? 1 : 0;
}

function line({ case: name, target, result, checks, reason }: Outcome & { target: string }): string {
  const worst = checks.reduce((most, { largest, allowed }) => Math.max(most, allowed ? largest / allowed : largest), 0);
  const told = result === 'passed' ? `${checks.length} outputs, at most ${worst.toFixed(2)} of the tolerance` : (reason ?? '');
  return `${name.padEnd(24)} ${target.padEnd(10)} ${result.padEnd(8)} ${told}`;
}

const totalsOf = (outcomes: readonly Outcome[]) => {
  const count = (result: Outcome['result']) => outcomes.filter((o) => o.result === result).length;
  return { passed: count('passed'), failed: count('failed'), missing: count('missing') };
};

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(error instanceof OnnxformersError || error instanceof RangeError ? error.message : error);
    process.exitCode = 2;
  },
);
