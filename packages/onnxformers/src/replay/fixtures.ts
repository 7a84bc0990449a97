// npm run fixtures -- DIR [--target T] [--json FILE]
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { OnnxformersError } from '@onnxformers/core';
import { readFixtures } from './fixture-set';
import { machineNames, machineOf } from './machines';
import { type Outcome, replay, totalsOf } from './replay';

const usage = `npm run fixtures -- DIR [--target T …] [--json FILE]
  DIR       a folder of recorded cases: manifest.json and safetensors files
  --target  ${machineNames.join(', ')}; default portable, cpu and interpreter
  --json    writes every outcome and the totals`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { target: { type: 'string', multiple: true }, json: { type: 'string' } },
  });
  const [folder] = positionals;
  if (!folder || positionals.length > 1) throw new RangeError(usage);
  const targets = values.target ?? ['portable', 'cpu', 'interpreter'];
  const machines = await Promise.all(targets.map(machineOf));
  const cases = await readFixtures(folder);
  const outcomes: (Outcome & { target: string })[] = [];
  for (const c of cases) {
    const own: (Outcome & { target: string })[] = [];
    for (const [i, machine] of machines.entries()) own.push({ target: targets[i]!, ...(await replay(c, machine)) });
    console.log(line(c.id, own));
    outcomes.push(...own);
  }
  console.log();
  const total = totalsOf(outcomes);
  printTable(outcomes);
  for (const target of targets) console.log(`${target}: ${sentence(outcomes.filter((o) => o.target === target))}`);
  console.log(`total: ${sentence(outcomes)}`);
  if (values.json)
    await writeFile(
      values.json,
      `${JSON.stringify({ total, targets: byTarget(targets, outcomes), cases: outcomes }, null, 1)}\n`,
    );
  return total.failed ? 1 : 0;
}

// One line per case, with the targets on which it failed and the reason.
function line(id: string, outcomes: readonly (Outcome & { target: string })[]): string {
  const failed = outcomes.filter(({ result }) => result === 'failed');
  if (failed.length)
    return `${id}  FAILED  ${failed.map(({ target, reason }) => `${target}: ${reason}`).join('; ')} (allowed ${failed[0]!.budget})`;
  const missing = outcomes.find(({ result }) => result === 'missing');
  if (missing) return `${id}  ${missing.reason}`;
  const error = Math.max(...outcomes.map((o) => o.error ?? 0));
  return `${id}  passed  ${error.toExponential(1)} of ${outcomes[0]!.budget}`;
}

function sentence(outcomes: readonly Outcome[]): string {
  const { passed, failed, missing } = totalsOf(outcomes);
  return `${passed} passed, ${failed} failed, ${missing} missing (no such block yet)`;
}

const byTarget = (targets: readonly string[], outcomes: readonly (Outcome & { target: string })[]) =>
  Object.fromEntries(targets.map((t) => [t, totalsOf(outcomes.filter(({ target }) => target === t))]));

// Per block: counts, and the largest error relative to its tolerance.
function printTable(outcomes: readonly Outcome[]): void {
  const blocks = [...new Set(outcomes.map(({ block }) => block))];
  const width = Math.max(...blocks.map((b) => b.length));
  for (const block of blocks) {
    const own = outcomes.filter((o) => o.block === block);
    const worst = own.reduce<Outcome | undefined>((a, o) => (share(o) > (a ? share(a) : -1) ? o : a), undefined);
    const { passed, failed, missing } = totalsOf(own);
    const error =
      worst?.error === undefined ? '' : `  largest error ${worst.error.toExponential(1)} of ${worst.budget} in ${worst.id}`;
    console.log(
      `${block.padEnd(width)}  ${String(passed).padStart(4)} passed ${String(failed).padStart(3)} failed ${String(missing).padStart(4)} missing${error}`,
    );
  }
}
const share = ({ error, budget }: Outcome): number =>
  error === undefined ? -1 : budget === 0 ? (error ? Number.POSITIVE_INFINITY : 0) : error / budget;

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(error instanceof OnnxformersError || error instanceof RangeError ? error.message : error);
    process.exitCode = 2;
  },
);
