// npm run conformance -- DIR [--target T] [--json FILE]
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { OnnxformersError } from '@onnxformers/core';
import { machineNames, runtimeOf, targetOf } from './machines';
import { conform, type NodeOutcome, totalsOf, ways } from './onnx-node/conform';
import { readNodeCases } from './onnx-node/node-case';

const names = machineNames.filter((name) => name !== 'interpreter');
const usage = `npm run conformance -- DIR [--target T] [--json FILE]
  DIR       a folder of ONNX node cases: model.onnx and test_data_set_0 in a folder each
  --target  ${names.join(', ')}; default cpu
  --json    writes every outcome and the totals`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { target: { type: 'string', default: 'cpu' }, json: { type: 'string' } },
  });
  const [folder] = positionals;
  const target = targetOf(values.target);
  if (!folder || positionals.length > 1 || !target) throw new RangeError(usage);
  const device = { target, ort: await runtimeOf(values.target) };
  const outcomes: NodeOutcome[] = [];
  for (const c of await readNodeCases(folder)) outcomes.push(await conform(c, device));
  for (const o of outcomes) if (o.result !== 'passed') console.log(line(o));
  for (const op of [...new Set(outcomes.map((o) => o.op))].sort())
    printOp(
      op,
      outcomes.filter((o) => o.op === op),
    );
  const { passed, failed, leftOut } = totalsOf(outcomes);
  console.log(`total on ${target.name}: ${passed} passed, ${failed} failed, ${leftOut} left out`);
  const total = { passed, failed, missing: leftOut };
  if (values.json) await writeFile(values.json, `${JSON.stringify({ total, target: target.name, cases: outcomes }, null, 1)}\n`);
  return failed ? 1 : 0;
}

function line({ id, result, ways: came, note }: NodeOutcome): string {
  const reasons = ways.flatMap((way) => (typeof came[way] === 'string' ? [`${way}: ${came[way]}`] : []));
  return `${id}: ${result}; ${[...reasons, ...(note ? [note] : [])].join('; ')}`;
}

function printOp(op: string, outcomes: readonly NodeOutcome[]): void {
  const { passed, failed, leftOut } = totalsOf(outcomes);
  const by = ways.map((way) => `${way} ${outcomes.filter((o) => o.ways[way] === true).length}`).join(', ');
  console.log(`${op.padEnd(28)} ${String(passed).padStart(3)} passed (${by}), ${failed} failed, ${leftOut} left out`);
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    console.error(error instanceof OnnxformersError || error instanceof RangeError ? error.message : error);
    process.exitCode = 2;
  },
);
