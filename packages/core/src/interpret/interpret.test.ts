import { describe, expect, test } from 'vitest';
import { FeedError, RunError, WeightError } from '../error';
import { defineOp, type TensorType } from '../ir/define-op';
import { apply, type Graph, mismatch, type Operand, type Value } from '../ir/graph';
import { cond, loop } from '../ops/control';
import { GraphBuilder } from '../ops/vocabulary';
import { Parameter } from '../parameter/parameter';
import { tensor } from '../tensor/convert';
import type { DType, NDArray } from '../tensor/tensor';
import { evaluateOp, interpret } from './interpret';

const array = (dims: readonly number[], values: readonly number[], dtype: DType = 'float32'): NDArray => ({
  dtype,
  dims,
  data: Float64Array.from(values),
});
const map = (x: NDArray, f: (v: number, i: number) => number): NDArray => ({ ...x, data: x.data.map(f) });

const Add = defineOp({
  key: 'Add',
  attributes: {},
  infer: ([x, y]) => {
    if (x!.dims.join() !== y!.dims.join()) throw mismatch('sizes differ');
    return [x!];
  },
  evaluate: ([x, y]) => [map(x!, (v, i) => v + y!.data[i]!)],
});
const add = (a: Operand, b: Operand): Value => apply(Add, [a, b], {})[0]!;
const Four = defineOp({
  key: 'onnxformers.Four',
  attributes: {},
  infer: ([x]) => [x!],
  decompose: ([x]) => [add(add(x!, x!), add(x!, x!))],
});
// Its definition is wrong on purpose: tells which of the two ran.
const Odd = defineOp({
  key: 'onnxformers.Odd',
  attributes: {},
  infer: ([x]) => [x!],
  decompose: ([x]) => [add(x!, x!)],
  evaluate: ([x]) => [x!],
});
const Sized = defineOp<{ by: string }>({
  key: 'onnxformers.Sized',
  attributes: { by: 'data' },
  infer: ([x]) => [x!],
  evaluate: ([x], { by }, sizes) => [map(x!, (v) => v * sizes.of(by))],
});
const Repeat = defineOp<{ times: number; body: Graph }>({
  key: 'onnxformers.Repeat',
  attributes: { times: 'int', body: 'graph' },
  infer: ([x]) => [x!],
  evaluateWith: ([x], { times, body }, run) => {
    let state = x!;
    for (let i = 0; i < times; i++) [state] = run(body, [state]) as [NDArray];
    return [state];
  },
});
const Accumulate = defineOp({
  key: 'onnxformers.Accumulate',
  attributes: {},
  operands: ['x', 'state'],
  writes: ['state'],
  infer: ([x, s]) => [x!, s!],
  evaluate: ([x, s]) => [map(x!, (v, i) => v * s!.data[i]!), map(s!, (v, i) => v + x!.data[i]!)],
});
const traced = (dims: readonly (number | string)[], f: (x: Value, g: GraphBuilder) => Value): Graph => {
  const g = new GraphBuilder();
  g.output('y', f(g.input('x', 'float32', dims), g));
  return g.finish();
};

describe('interpret', () => {
  test('runs nodes, constants and definitions', () => {
    const graph = traced(['n'], (x) => add(apply(Four, [x], {})[0]!, x));
    expect(interpret(graph, { x: array([3], [1, 2, 3]) }).y).toEqual(array([3], [5, 10, 15]));
    const fixed = traced([2], (x) => add(x, tensor('float32', [2], [10, 20])));
    expect(interpret(fixed, { x: array([2], [1, 2]) }).y!.data).toEqual(Float64Array.of(11, 22));
  });

  test('prefers evaluate, and the definition on request', () => {
    const graph = traced([1], (x) => apply(Odd, [x], {})[0]!);
    expect(interpret(graph, { x: array([1], [7]) }).y!.data[0]).toBe(7);
    expect(interpret(graph, { x: array([1], [7]) }, { prefer: 'decompose' }).y!.data[0]).toBe(14);
  });

  test('passes the sizes of the run to ops, in definitions too, and again in a second run', () => {
    const Through = defineOp({
      key: 'onnxformers.Through',
      attributes: {},
      infer: ([x]) => [x!],
      decompose: ([x]) => apply(Sized, [x], { by: 'n*m' }),
    });
    const g = new GraphBuilder();
    g.output('y', apply(Through, [g.input('x', 'float32', ['n'])], {})[0]!);
    g.output('z', g.input('w', 'float32', ['m']));
    const graph = g.finish();
    expect(interpret(graph, { x: array([2], [1, 2]), w: array([5], [0, 0, 0, 0, 0]) }).y!.data).toEqual(Float64Array.of(10, 20));
    expect(interpret(graph, { x: array([1], [1]), w: array([3], [0, 0, 0]) }).y!.data).toEqual(Float64Array.of(3));
  });

  test('solves for a name that occurs only in a linear size', () => {
    const g = new GraphBuilder();
    g.output('y', apply(Sized, [g.input('offsets', 'float32', ['batch + 1'])], { by: 'batch' })[0]!);
    expect(interpret(g.finish(), { offsets: array([4], [1, 1, 1, 1]) }).y!.data[0]).toBe(3);
  });

  test('takes sizes that no input has', () => {
    const graph = traced([1], (x) => apply(Sized, [x], { by: 'k' })[0]!);
    expect(interpret(graph, { x: array([1], [2]) }, { sizes: { k: 11 } }).y!.data[0]).toBe(22);
    expect(() => interpret(graph, { x: array([1], [2]) })).toThrow('the size k has no value');
  });

  test('runs subgraphs with the values around them', () => {
    const graph = traced(['n'], (x, g) => {
      const body = g.subgraph('loop', [{ dtype: 'float32', dims: ['n'] } satisfies TensorType], (s) => [add(s!, x)]);
      return apply(Repeat, [add(x, x)], { times: 3, body })[0]!;
    });
    expect(interpret(graph, { x: array([2], [1, 10]) }).y!.data).toEqual(Float64Array.of(5, 50));
  });

  test('runs loops and branches, and a loop of no steps', () => {
    const g = new GraphBuilder();
    const [x, trips] = [g.input('x', 'float32', [3]), g.input('trips', 'int64', [])];
    g.input('steps', 'bool', ['steps']);
    const count = { trips, count: 'steps', carried: [x] };
    const { carried, scans } = loop(g, { ...count, body: (_, last) => ({ carried: [add(last, x)], scans: [last!] }) });
    const [doubled] = cond(
      g.input('twice', 'bool', []),
      () => [add(carried[0], carried[0])],
      () => [carried[0]!],
    );
    g.output('y', doubled!);
    g.output('seen', scans[0]!);
    const run = (steps: number, twice: number) =>
      interpret(g.finish(), {
        x: array([3], [1, 2, 3]),
        trips: array([], [steps], 'int64'),
        steps: array([steps], new Array(steps).fill(0), 'bool'),
        twice: array([], [twice], 'bool'),
      });
    expect(run(2, 1)).toEqual({ y: array([3], [6, 12, 18]), seen: array([2, 3], [1, 2, 3, 2, 4, 6]) });
    expect(run(0, 0)).toEqual({ y: array([3], [1, 2, 3]), seen: array([0, 3], []) });
  });

  test('reads and updates states', () => {
    const graph = traced(['n'], (x, g) => {
      const s = g.state('sum', 'float32', ['n'], 1);
      const [y] = apply(Accumulate, [x, s], {});
      return apply(Accumulate, [y, s], {})[0]!;
    });
    const states = new Map<string, NDArray>();
    expect(interpret(graph, { x: array([2], [2, 3]) }, { states }).y!.data).toEqual(Float64Array.of(6, 12));
    expect(states.get('sum')!.data).toEqual(Float64Array.of(5, 7));
    interpret(graph, { x: array([2], [1, 1]) }, { states });
    expect(states.get('sum')!.data).toEqual(Float64Array.of(11, 15));
  });

  test('requires parameters', () => {
    const p = new Parameter([2], { kind: 'zeros' } as never);
    const graph = traced([2], (x) => add(x, p));
    const feeds = { x: array([2], [1, 2]) };
    expect(interpret(graph, feeds, { parameters: () => array([2], [5, 5]) }).y!.data).toEqual(Float64Array.of(6, 7));
    expect(() => interpret(graph, feeds)).toThrow(WeightError);
    expect(() => interpret(graph, feeds, { parameters: () => array([3], [5, 5, 5]) })).toThrow('expected [2], got [3]');
  });

  test.each([
    ['missing', {}, 'x: this input was not fed; expected float32[n, 2], got nothing'],
    ['unknown', { xs: array([1, 2], [1, 2]) }, 'xs: the graph has no input of this name; expected one of x, z'],
    ['dtype', { x: array([1, 2], [1, 2], 'int64'), z: array([1], [0]) }, 'x: has the wrong dtype; expected float32, got int64'],
    [
      'count',
      { x: array([1, 2], [1]), z: array([1], [0]) },
      'x: the number of elements does not fit its dims; expected 2, got 1',
    ],
    ['rank', { x: array([2], [1, 2]), z: array([1], [0]) }, 'x: has the wrong number of axes; expected [n, 2], got [2]'],
    ['size', { x: array([1, 3], [1, 2, 3]), z: array([1], [0]) }, 'x: has the wrong size on axis 1; expected 2, got 3'],
    [
      'conflict',
      { x: array([1, 2], [1, 2]), z: array([3], [0, 0, 0]) },
      'z: has the wrong size on axis 0; expected n = 1 (n is 1 by axis 0 of "x"), got 3',
    ],
  ])('refuses feeds: %s', (_, feeds, message) => {
    const g = new GraphBuilder();
    g.output('y', g.input('x', 'float32', ['n', 2]));
    g.output('w', g.input('z', 'float32', ['n']));
    const run = () => interpret(g.finish(), feeds as unknown as Record<string, NDArray>);
    expect(run).toThrow(FeedError);
    expect(run).toThrow(message);
  });

  test('refuses a size that no count solves', () => {
    const g = new GraphBuilder();
    g.output('y', g.input('x', 'float32', ['2*n']));
    expect(() => interpret(g.finish(), { x: array([3], [1, 2, 3]) })).toThrow(
      'x: has an impossible size on axis 0: 2*n cannot be 3',
    );
  });

  test('adds the path to an error of an op about its numbers', () => {
    const Fussy = defineOp({
      key: 'Fussy',
      attributes: {},
      infer: ([x]) => [x!],
      evaluate: () => {
        throw mismatch('an index is out of range', '0 to 3', '4');
      },
    });
    const graph = traced(['n'], (x, g) => g.scope('layers.1', () => apply(Fussy, [x], {})[0]!));
    const run = () => interpret(graph, { x: array([1], [1]) });
    expect(run).toThrow(RunError);
    expect(run).toThrow('Fussy in layers.1: an index is out of range; expected 0 to 3, got 4');
  });

  test('notices an op whose types are not what it computes', () => {
    const Liar = defineOp({ key: 'Liar', attributes: {}, infer: ([x]) => [x!], evaluate: () => [array([1], [1])] });
    const graph = traced(['n'], (x) => apply(Liar, [x], {})[0]!);
    expect(() => interpret(graph, { x: array([2], [1, 2]) })).toThrow(
      'internal: Liar was inferred as float32[n] = [2], but computed float32[1]',
    );
  });
});

describe('evaluateOp', () => {
  test('computes an op or its definition', () => {
    expect(evaluateOp(Add as never, [array([1], [1]), array([1], [2])], {})[0]!.data[0]).toBe(3);
    expect(evaluateOp(Four as never, [array([1], [1])], {})[0]!.data[0]).toBe(4);
    expect(
      evaluateOp(
        Sized as never,
        [array([1], [2])],
        { by: 'a*b' },
        new Map([
          ['a', 3],
          ['b', 5],
        ]),
      )[0]!.data[0],
    ).toBe(30);
  });
});
