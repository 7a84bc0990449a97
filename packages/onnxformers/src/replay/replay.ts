// Replays recorded cases on a machine and reports the results.

import { ConfigError, type NDArray, type Tensor, toArray } from '@onnxformers/core';
import { printType } from '@onnxformers/core/lowering';
import { compare } from '@onnxformers/core/testing';
import { noCounterpart } from '../import/xformers/index';
import type { FixtureCase, ReadCase } from './fixture-set';
import type { Machine } from './machines';
import { players } from './players/index';

/** The result of one case. */
export interface Outcome {
  readonly id: string;
  readonly block: string;
  readonly result: 'passed' | 'failed' | 'missing';
  /** Largest difference of any output. */
  readonly error?: number;
  /** Largest difference allowed. */
  readonly budget: number;
  /** The error, or the missing block. */
  readonly reason?: string;
}

/** The results of all cases. */
export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly missing: number;
}

/** Runs one case; a damaged one fails. Never throws. */
export async function replay(c: ReadCase, machine: Machine): Promise<Outcome> {
  const about = { id: c.id, block: c.block, budget: c.atol };
  if ('damaged' in c) return { ...about, result: 'failed', reason: c.damaged };
  const player = Object.hasOwn(players, c.block) ? players[c.block] : undefined;
  if (!player) return { ...about, result: 'missing', reason: `no such block yet: "${c.block}"` };
  try {
    const play = player(c);
    const outputs = await machine.run(play);
    return { ...about, ...compareAll(c, outputs) };
  } catch (error) {
    if (error instanceof ConfigError && error.problem === noCounterpart)
      return { ...about, result: 'missing', reason: `no such block yet: ${error.got}` };
    return { ...about, result: 'failed', reason: error instanceof Error ? error.message : String(error) };
  }
}

type Compared = Pick<Outcome, 'result' | 'error' | 'reason'>;

function compareAll(c: FixtureCase, outputs: Readonly<Record<string, Tensor | NDArray>>): Compared {
  let error = 0;
  for (const [name, expected] of c.out) {
    const actual = outputs[name];
    if (!actual) return { result: 'failed', reason: `no output "${name}"` };
    const {
      close,
      problem,
      error: off,
      index,
      failures,
      count,
    } = compare(actual, withoutNaN(expected, rowsOfOwn.has(c.block) ? undefined : actual), { atol: c.atol, rtol: 0 });
    if (problem) return { result: 'failed', reason: `${name}: ${problem}` };
    error = Math.max(error, off);
    if (!close)
      return {
        result: 'failed',
        error,
        reason: `${name} ${printType(expected)}: ${failures} of ${count} elements differ, at [${index.join(', ')}] by ${off}`,
      };
  }
  return { result: 'passed', error };
}

/** Blocks whose results are only sums of values. */
const rowsOfOwn: ReadonlySet<string> = new Set([
  'scaled_dot_product',
  'local',
  'global',
  'random',
  'orthoformer',
  'blocksparse',
  'sparse',
]);

// A fully masked row is NaN in the records and 0 here. Values computed from it are NaN in the records too, so any number is accepted.
function withoutNaN(t: Tensor, actual: Tensor | NDArray | undefined): NDArray {
  const { dtype, dims, data } = toArray(t);
  const found = actual?.data;
  const instead = (i: number): number => {
    const x = found ? Number(found[i]) : 0;
    return Number.isFinite(x) ? x : 0;
  };
  return { dtype, dims, data: data.map((x, i) => (Number.isNaN(x) ? instead(i) : x)) };
}

/** Counts cases: a case passes if it passes on every machine, and fails if it fails on any. */
export function totalsOf(outcomes: readonly Pick<Outcome, 'id' | 'result'>[]): Totals {
  const rank = { missing: 0, passed: 1, failed: 2 } as const;
  const worst = new Map<string, Outcome['result']>();
  for (const { id, result } of outcomes) if (rank[result] >= rank[worst.get(id) ?? 'missing']) worst.set(id, result);
  const count = (result: Outcome['result']) => [...worst.values()].filter((r) => r === result).length;
  return { passed: count('passed'), failed: count('failed'), missing: count('missing') };
}
