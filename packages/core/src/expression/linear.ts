// Integers of an expression as sums: coefficients of the parts that are not sums themselves, and a constant.
import type { Expression, Step } from './step';

/** Σ coefficient · step + constant. */
export interface Linear {
  /** By the number of a step; no coefficient is 0. */
  readonly terms: ReadonlyMap<number, number>;
  readonly constant: number;
}

const combined = (a: Linear, b: Linear, factor: number): Linear => {
  const terms = new Map(a.terms);
  for (const [step, n] of b.terms) {
    const sum = (terms.get(step) ?? 0) + factor * n;
    if (sum === 0) terms.delete(step);
    else terms.set(step, sum);
  }
  return { terms, constant: a.constant + factor * b.constant };
};
const zero: Linear = { terms: new Map(), constant: 0 };

/** The integer steps as sums; undefined for the others. */
export function linearsOf({ steps }: Expression): readonly (Linear | undefined)[] {
  const sums: (Linear | undefined)[] = [];
  steps.forEach((step, at) => {
    const operands = 'of' in step && step.op !== 'lookup' ? step.of.map((i) => sums[i]) : [];
    sums.push(step.type === 'int' ? sumOf(step, at, operands) : undefined);
  });
  return sums;
}

function sumOf(step: Step, at: number, [a, b]: readonly (Linear | undefined)[]): Linear {
  if (step.op === 'number') return { terms: new Map(), constant: step.value };
  if (step.op === 'add' && a && b) return combined(a, b, 1);
  if (step.op === 'sub' && a && b) return differenceOf(a, b);
  if (step.op === 'neg' && a) return negative(a);
  if (step.op === 'mul' && a && b) {
    if (a.terms.size === 0) return combined(zero, b, a.constant);
    if (b.terms.size === 0) return combined(zero, a, b.constant);
  }
  return { terms: new Map([[at, 1]]), constant: 0 };
}

export const differenceOf = (a: Linear, b: Linear): Linear => combined(a, b, -1);
export const negative = (x: Linear): Linear => combined(zero, x, -1);
export const plus = ({ terms, constant }: Linear, n: number): Linear => ({ terms, constant: constant + n });
