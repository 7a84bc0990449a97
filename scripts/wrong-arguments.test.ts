// Every public function with arguments that a program without types may pass: it returns, or refuses them with an error of the library.
import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as attention from '../packages/attention/src/index';
import * as core from '../packages/core/src/index';
import * as lowering from '../packages/core/src/lowering';
import * as node from '../packages/core/src/node';
import * as feedforward from '../packages/feedforward/src/index';
import * as models from '../packages/models/src/index';
import * as modelsNode from '../packages/models/src/node';
import * as onnxformers from '../packages/onnxformers/src/index';
import * as positional from '../packages/positional/src/index';
import * as residual from '../packages/residual/src/index';

const { describe, OnnxformersError } = core;

/** Functions that do not check their arguments, by the reason. */
const unchecked: Readonly<Record<string, readonly string[]>> = {
  'it checks the arguments of others, or words an error': [
    'checkArguments',
    'checkOptions',
    'checkWord',
    'given',
    'nearest',
    'printType',
  ],
  'it is called for every number or size': ['castNumber', 'evaluateDim'],
  'it is in the bundle of every block, and called when a block is defined': [
    'cellsOf',
    'choice',
    'defineBlock',
    'defineReasons',
    'imageInputs',
    'int',
    'list',
    'module',
    'num',
    'rule',
  ],
  'it is in the bundle of every block with heads': ['mergeHeads', 'splitHeads'],
  'it has no arguments, and serves the thread that runs it': ['serveThread'],
  'for rules, which get graphs, nodes and masks from the driver, for every node that is lowered': [
    'apply',
    'attendBlockwise',
    'attendInChunks',
    'attendParts',
    'attentionKernel',
    'biasedLinear',
    'conjuncts',
    'derive',
    'domainOf',
    'encoded',
    'expressedBy',
    'freeSizeName',
    'impliedBy',
    'isOfSequences',
    'knownNonEmpty',
    'lengthsFrom',
    'mapMask',
    'maskKinds',
    'maskTensor',
    'maskedScore',
    'masksIn',
    'nameOf',
    'operandOf',
    'operandsOf',
    'queryHasKey',
    'rowHasKey',
    'sourceOf',
    'subgraphsOf',
    'tokenPlaces',
    'unexpanded',
  ],
};

type Call = (...args: unknown[]) => unknown;
const entries = { attention, core, lowering, node, feedforward, models, modelsNode, onnxformers, positional, residual };
const exported = Object.entries(entries).flatMap(([entry, names]) =>
  Object.entries(names as Readonly<Record<string, unknown>>)
    .filter((each): each is [string, Call] => typeof each[1] === 'function' && /^[a-z]/.test(each[0]))
    .map(([name, f]) => ({ name, call: `${entry}.${name}`, f })),
);
const functions = exported.filter(({ f }, i) => exported.findIndex((other) => other.f === f) === i);
const exceptions = Object.values(unchecked).flat();

/** Lists of arguments: none, and one that is wrong among empty objects. */
function lists({ length }: Call): unknown[][] {
  const places = Array.from({ length: Math.min(Math.max(length, 1), 3) }, (_, i) => i);
  return [
    [],
    ...places.flatMap((at) => [undefined, null, 7, 'x', {}, []].map((wrong) => places.map((i) => (i === at ? wrong : {})))),
  ];
}

async function errorOf(f: Call, args: readonly unknown[]): Promise<unknown> {
  try {
    await f(...args);
    return undefined;
  } catch (error) {
    return error;
  }
}

it('refuses them with an error of the library, and writes nothing', async () => {
  const wrong: string[] = [];
  for (const { call, f } of functions.filter(({ name }) => !exceptions.includes(name)))
    for (const args of lists(f)) {
      const error = await errorOf(f, args);
      const right = error instanceof OnnxformersError && !/^: |undefined is|\bNaN\b/.test(error.message);
      if (error !== undefined && !right) wrong.push(`${call}(${args.map(describe).join(', ')}): ${error}`);
    }
  expect(wrong).toEqual([]);
  expect([existsSync('x'), existsSync('7')]).toEqual([false, false]);
}, 20_000);

it.each(exceptions)('%s is still an exception', async (name) => {
  const of = functions.find((each) => each.name === name);
  if (name === 'serveThread') return expect(of).toBeDefined();
  const errors = await Promise.all(lists(of!.f).map((args) => errorOf(of!.f, args)));
  expect(errors.some((error) => error !== undefined && !(error instanceof OnnxformersError))).toBe(true);
});

it('a promise rejects', async () => {
  const calls: readonly (() => unknown)[] = [
    () => (core.createRunner as Call)(),
    () => (core.connectRunner as Call)(),
    () => (core.toBytes as Call)(),
    () => (core.inMemory as Call)(),
    () => (core.openSafetensors as Call)(),
    () => (node.save as Call)(),
    () => (node.load as Call)(),
    () => (node.createWorkerRunner as Call)(),
    () => (onnxformers.createEncoder as Call)(),
    () => (onnxformers.drawGraph as Call)(),
    () => (models.fromPretrained as Call)(),
    () => (modelsNode.fromPretrained as Call)(),
  ];
  for (const call of calls) await expect(call()).rejects.toBeInstanceOf(OnnxformersError);
});

it('the error names the function, the argument, what is expected and what was passed', () => {
  const message = (f: unknown, ...args: unknown[]): string => {
    try {
      (f as Call)(...args);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  expect(message(core.explain)).toBe(
    'explain: the argument model is missing; expected a compiled model, got nothing. Pass a compiled model as model of explain',
  );
  expect(message(core.footprint, 7)).toBe(
    'footprint: wrong argument graph; expected a graph, got 7. Pass a graph as graph of footprint',
  );
  expect(message(core.tensor, 'float23', [], [])).toMatch(/^tensor: wrong argument dtype; expected a dtype, got "float23"/);
  expect(message(core.and, core.causal, 'causal')).toMatch(/^and: wrong argument masks; expected masks, got \[/);
});
