// The sweep finds each kind of fault in a block, and none in a right one.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { defineBlock } from '../block/block';
import type { AnyBlock } from '../block/block-definition';
import { int, num } from '../config/fields';
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import { linear } from '../layers/linear';
import { type Rule, rule } from '../lower/rule';
import { module } from '../module/module';
import { mul } from '../ops/elementwise';
import { Linear, linear as map } from '../ops/matmul';
import type { Ort } from '../runtime/ort';
import { cpu } from '../targets/cpu';
import { portable } from '../targets/portable';
import { sweep } from './sweep';

/** What a sweep says of a block; undefined where it passes. */
async function faultsOf(block: AnyBlock, cases = 40): Promise<string | undefined> {
  const tests: (() => void | Promise<void>)[] = [];
  const registry = { parse: (_: string, given: Record<string, unknown>) => block(without(given)) } as never;
  sweep([block], {
    describe: (_, f) => f(),
    it: (_, f) => void tests.push(f),
    registry,
    seed: 3,
    cases,
    targets: [portable(18)],
    runs: { target: cpu, ort: ort as unknown as Ort },
  });
  try {
    for (const test of tests) await test();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
const without = ({ name: _, ...given }: Record<string, unknown>) => given;

const dim = int({ doc: 'channels', min: 1 });
const width = int({ doc: 'hidden channels', min: 1, default: 5 });
/** A feed-forward that differs from a right one in what is given. */
const feedforward = (
  create: (c: { dim: number; width: number; factor: number }) => unknown,
  rules: readonly Rule[] = [],
): AnyBlock =>
  defineBlock({
    kind: 'feedforward',
    name: 'some_feedforward',
    summary: 'Two maps.',
    fields: { dim, width, factor: num({ doc: 'factor', default: 1 }) },
    examples: [{ dim: 3 }],
    rules,
    create,
  } as never) as AnyBlock;

const right = ({ dim, width, factor }: { dim: number; width: number; factor: number }) => {
  const [up, down] = [linear(dim, width), linear(width, dim)];
  return module({ up, down }, (x: Value) => mul(down(up(x)), factor));
};

/** Makes a linear map to 97 channels larger by a thousandth. */
const wrong = rule('wrong', Linear, (node) => {
  const [x, weight, bias] = node.operands as readonly Value[];
  if (node.history.includes('wrong') || weight!.dims[0] !== 97) return undefined;
  return { covers: node.outputs, emit: (get) => [mul(map(get(x!), get(weight!), bias && get(bias)), 1.001)] };
});

describe('a sweep', () => {
  it('passes for a right block', async () => expect(await faultsOf(feedforward(right))).toBeUndefined());

  it.each<[string, (c: { dim: number; width: number; factor: number }) => unknown, RegExp]>([
    [
      'an error of JavaScript',
      (c) => {
        if (c.width === 97) throw new TypeError('x is not a function');
        return right(c);
      },
      /\{ width: 97.*: fails with TypeError: x is not a function/,
    ],
    [
      'a refusal that does not name the field',
      (c) => {
        if (c.width === 97)
          throw new ConfigError({ path: 'some_feedforward', problem: 'too much', expected: 'less', got: 'more' });
        return right(c);
      },
      /width: 97.*: refused without naming .*width.*: ConfigError: some_feedforward: too much/,
    ],
    [
      'a refusal that says too little',
      (c) => {
        if (c.width === 97) throw new ConfigError({ path: 'some_feedforward.width', problem: 'too much' });
        return right(c);
      },
      /width: 97.*: refused without saying what was expected, what was there/,
    ],
  ])('fails for %s', async (_, create, message) => expect(await faultsOf(feedforward(create), 150)).toMatch(message));

  it('fails for a wrong number', async () => {
    const message = await faultsOf(feedforward(right, [wrong]), 150);
    expect(message).toMatch(/width: 97.*: y of the first call: \d+ of \d+ elements differ too much/);
    for (const line of message!.split('\n').slice(1)) expect(line).toMatch(/(dim|width): 97/);
  });

  it('fails when nothing runs', async () => expect(await faultsOf(feedforward(right), 0)).toMatch(/no case ran: refused/));
});
