// Explanations as text.

import { checkArguments } from '../arguments';
import { nameOf } from '../lower/rewrite';
import type { Forecast } from '../lower/target';
import type { ExplainedBlock, ExplainedOp, Explanation } from './explain';

const words: Readonly<Record<string, string>> = {
  kept: 'kept as it is',
  decomposed: 'written out in primitives',
  float32: 'computed in float32, between casts',
  empty: 'not computed, the result has no elements',
};

/** An explanation as text, as `onnxformers explain` prints it. */
export function printExplanation(about: Explanation): string {
  checkArguments('printExplanation', { explanation: about });
  const { target, dtype, computes, assumed, notes, blocks } = about;
  const head = `lowered for ${target}, ${dtype === computes ? dtype : `${dtype} computed in ${computes}`}${machineOf(about)}`;
  const remarks = [...assumed, ...notes].map((n) => `  ${n}`);
  return [head, ...remarks, ...blocks.flatMap((b) => ['', ...printBlock(b)])].join('\n');
}

function machineOf({ machine }: Explanation): string {
  const parts = [
    machine.runtime && `ONNX Runtime ${machine.runtime}`,
    machine.sm && `compute capability ${(machine.sm / 10).toFixed(1)}`,
    machine.cudnn && (machine.cudnn === 'none' ? 'no cuDNN' : `cuDNN ${machine.cudnn}`),
    ...Object.entries(machine.environment ?? {}).map(([name, value]) => `${name}=${value}`),
  ].filter(Boolean);
  return parts.length ? ` (${parts.join(', ')})` : '';
}

function printBlock({ place, paths, block, ops }: ExplainedBlock): string[] {
  const count = paths.length > 1 ? ` ×${paths.length}` : '';
  return [`${place}${block ? `  ${block}` : ''}${count}`, ...ops.flatMap(printOp)];
}

function printOp(o: ExplainedOp): string[] {
  const chosen = words[o.chosen] ? `${o.op}: ${words[o.chosen]}` : nameOf(o.chosen, o.variant);
  return [
    `  ${chosen}${o.where === undefined ? '' : `, where ${o.where}`}`,
    ...o.runs.map((f) => `    runs ${printForecast(f)}`),
    ...o.notes.map(({ text }) => `    note: ${text}`),
    ...merged(o.refused).map(({ rules, reason }) => `    not ${rules.join(', ')}: ${reason}`),
    ...o.hints.map(({ text }) => `    hint: ${text}`),
  ];
}

function printForecast({ on, kernel, note }: Forecast): string {
  return `${kernel}${on.length ? ` on ${on.join(', ')}` : ''}${note ? ` (${note.text})` : ''}`;
}

// Rules that were refused for the same reason share a line.
function merged(refused: ExplainedOp['refused']): { readonly rules: readonly string[]; readonly reason: string }[] {
  const byReason = new Map<string, string[]>();
  for (const { rule, variant, reason } of refused)
    byReason.set(reason.text, [...(byReason.get(reason.text) ?? []), nameOf(rule.split(' → ').at(-1)!, variant)]);
  return [...byReason].map(([reason, rules]) => ({ reason, rules: [...new Set(rules)] }));
}
