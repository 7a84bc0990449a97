// A part of an expression as an expression of its own.
import { operandsOf, type Step, type Traced } from './step';

/** The expression whose result is one step. */
export function partAt<V>({ steps, tables }: Traced<V>, result: number): Traced<V> {
  const needed = new Set([result]);
  for (let i = result; i >= 0; i--) if (needed.has(i)) for (const j of operandsOf(steps[i]!)) needed.add(j);
  const places = [...needed].sort((a, b) => a - b);
  const used = [...new Set(places.flatMap((i) => tableOf(steps[i]!)))];
  const moved = (step: Step): Step => {
    if (!('of' in step)) return step;
    const of = step.of.map((i) => places.indexOf(i));
    return step.op === 'lookup' ? { ...step, of, table: used.indexOf(step.table) } : { ...step, of };
  };
  return { steps: places.map((i) => moved(steps[i]!)), tables: used.map((i) => tables[i]!) };
}

const tableOf = (step: Step): readonly number[] => (step.op === 'lookup' ? [step.table] : []);

/** True if an expression depends on one of these. */
export const reads = ({ steps }: { readonly steps: readonly Step[] }, ...ops: readonly Step['op'][]): boolean =>
  steps.some(({ op }) => ops.includes(op));
