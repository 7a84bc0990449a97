import fc from 'fast-check';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile, type Model } from '../compile/compile';
import { toBytes } from '../compile/serialize';
import { explain, printExplanation } from '../explain/index';
import { interpret } from '../interpret/interpret';
import type { Graph, Value } from '../ir/graph';
import { coreRules } from '../kernels/index';
import { module } from '../module/module';
import * as ops from '../ops/index';
import { GraphBuilder } from '../ops/vocabulary';
import { targets } from '../targets/index';
import { kernelTables } from '../targets/kernels.generated';
import { toTensor } from '../tensor/convert';
import type { DType, NDArray, Tensor } from '../tensor/tensor';
import { expectClose } from '../testing';
import { randomArray } from '../testing/attention-calls';
import { roundingErrors } from '../testing/rounding';
import { fusionPatterns } from './fusions';
import { lower } from './lower';
import type { Target } from './target';

const dims = [2, 5, 5] as const;
type Step = (x: Value, y: Value) => Value;
const number = ({ graph, dtype }: Value, value: number): Value => graph.number(value, dtype);
const constant = ({ graph, dtype }: Value, name: string, ...shape: readonly number[]): Value =>
  graph.constant(toTensor(randomArray(name, shape, dtype)));
const swapped = (x: Value): Value => ops.transpose(x, [0, 2, 1]);
const square = (x: Value): Value => ops.pow(x, number(x, 2));
const normalized = (x: Value): Value => ops.div(x, ops.sqrt(ops.add(ops.reduceMean(square(x), [-1]), number(x, 0.01))));
const images =
  (f: (x: Value) => Value): Step =>
  (x) =>
    ops.reshape(f(ops.reshape(x, [dims[0], 1, dims[1], dims[2]])), dims);
const padded = (x: Value): Value => ops.pad(x, { axes: [2, 3], before: [1, 1], after: [1, 1] });

/** What expressions are made of: parts of what the runtime fuses, and what stands between them. All are continuous. */
const steps: Readonly<Record<string, Step>> = {
  'x · sigmoid(x)': (x) => ops.mul(x, ops.sigmoid(x)),
  'sigmoid(1.7 x) · x': (x) => ops.mul(ops.sigmoid(ops.mul(x, number(x, 1.7))), x),
  silu: (x) => ops.silu(x),
  'y · sigmoid(x)': (x, y) => ops.mul(y, ops.sigmoid(x)),
  relu: (x) => ops.relu(x),
  'clip(0, 1)': (x) => ops.clip(x, 0, 1),
  'clip(−1, 0.5)': (x) => ops.clip(x, -1, 0.5),
  tanh: (x) => ops.tanh(x),
  'x / 3': (x) => ops.div(x, number(x, 3)),
  '0.7 x': (x) => ops.mul(x, number(x, 0.7)),
  'x + 0.1': (x) => ops.add(x, number(x, 0.1)),
  '1 / (1 + |x|) · y': (x, y) => ops.mul(ops.div(number(x, 1), ops.add(ops.abs(x), number(x, 1))), y),
  'x · w': (x) => ops.mul(x, constant(x, 'w', 5)),
  'x w + b': (x) => ops.add(ops.matmul(x, constant(x, 'matrix', 5, 5)), constant(x, 'b', 5)),
  'x y': (x, y) => ops.matmul(x, y),
  'x yᵀ': (x, y) => ops.matmul(x, swapped(y)),
  transpose: swapped,
  softmax: (x) => ops.softmax(x, -1),
  'attention, written out': (x, y) => ops.matmul(ops.softmax(ops.mul(ops.matmul(x, swapped(y)), number(x, 0.45)), -1), y),
  layerNorm: (x) => ops.layerNorm(x, constant(x, 'scale', 5), constant(x, 'bias', 5), { epsilon: 2 ** -7 }),
  'layer norm, written out': (x) => {
    const centred = ops.sub(x, ops.reduceMean(x, [-1]));
    const spread = ops.sqrt(ops.add(ops.reduceMean(square(centred), [-1]), number(x, 0.01)));
    return ops.add(ops.mul(ops.div(centred, spread), constant(x, 'scale', 5)), constant(x, 'bias', 5));
  },
  'layer norm in float32': (x) => ops.cast(steps['layer norm, written out']!(ops.cast(x, 'float32'), x), x.dtype),
  'rms norm, written out': (x) => ops.mul(normalized(x), constant(x, 'scale', 5)),
  'x + y': (x, y) => ops.add(x, y),
  'max(x, y)': (x, y) => ops.max(x, y),
  'pool of a padded image': images((x) => ops.maxPool(padded(x), 3)),
  'through float32': (x) => ops.cast(ops.cast(x, 'float32'), x.dtype),
};
const names = Object.keys(steps);

interface Expression {
  readonly program: readonly (readonly [step: string, back: number])[];
}
const expression: fc.Arbitrary<Expression> = fc.record({
  program: fc.array(fc.tuple(fc.constantFrom(...names), fc.integer({ min: 0, max: 3 })), { minLength: 2, maxLength: 8 }),
});

const applied = ({ program }: Expression, ...made: Value[]): Value => {
  for (const [step, back] of program) made.push(steps[step]!(made.at(-1)!, made.at(-1 - (back % made.length))!));
  return made.at(-1)!;
};
function traced(e: Expression, dtype: DType): Graph {
  const g = new GraphBuilder();
  g.output('y', applied(e, g.input('a', dtype, dims), g.input('b', dtype, dims)));
  return g.finish();
}
const feeds = { a: randomArray('a', dims), b: randomArray('b', dims) };
/** A rounding error of the dtype in those of float32. */
const units: Readonly<Partial<Record<DType, number>>> = { float64: 2 ** -29, float32: 1, float16: 2 ** 13 };

async function check(e: Expression, dtype: DType, target: Target): Promise<void> {
  const graph = traced(e, dtype);
  const fed = { a: { ...feeds.a, dtype }, b: { ...feeds.b, dtype } };
  const exact = interpret(graph, fed, { prefer: 'decompose' });
  // What is written in float32 is of that precision in every dtype.
  const unit = Math.max(units[dtype]!, e.program.some(([step]) => step.includes('float32')) ? 1 : 0);
  const error = roundingErrors(graph, fed, {}, exact).y! * unit;
  const got = await computed(lower(graph, target, { rules: coreRules }).graph, target, fed);
  expectClose(got, exact.y!, { atol: 16 * (error + unit * 2 ** -24), rtol: 0 }, `${dtype} on ${target.name}`);
}

/** y as a plain session computes it, with the optimisations that the runtime has on by default. */
async function computed(graph: Graph, target: Target, fed: Record<string, NDArray>): Promise<Tensor> {
  const about = { dtype: 'float32', parameterInputs: new Set(), names: { nameOf: new Map(), parameters: new Map() } };
  const session = await ort.InferenceSession.create(await toBytes({ graph, target, ...about } as unknown as Model));
  const tensors = session.inputNames.map((name) => {
    const { dtype, dims, data } = toTensor(fed[name]!);
    return [name, new ort.Tensor(dtype as 'float32', data as Float32Array, dims)] as const;
  });
  const { y } = await session.run(Object.fromEntries(tensors));
  await session.release();
  return { dtype: y!.type as DType, dims: y!.dims as number[], data: y!.data as Float32Array };
}

describe.each(['float64', 'float32', 'float16'] as const)('%s', (dtype) => {
  it.each([targets.cpu, targets.portable(18), targets.portable(23)])(
    'expressions open at the default level and are right: $name',
    async (target) => {
      const property = fc.asyncProperty(expression, (e) => check(e, dtype, target));
      await fc.assert(property, { numRuns: 60 });
    },
  );
  it.each(names)('%s', (step) =>
    check(
      {
        program: [
          [step, 1],
          ['x + 0.1', 0],
          [step, 1],
        ],
      },
      dtype,
      targets.cpu,
    ),
  );
});

describe('the tables', () => {
  const tables = Object.entries(kernelTables).flatMap(([name, t]) =>
    [t, ...t.older].map((a) => [name, a.runtime, a.fusions] as const),
  );
  it.each(tables)('%s %s: every fusion that goes wrong has a pattern', (_, __, fusions) => {
    const known = new Set(fusionPatterns.map(({ fusion }) => fusion));
    expect(Object.keys(fusions).length).toBeGreaterThan(0);
    expect(Object.keys(fusions).filter((fusion) => !known.has(fusion))).toEqual([]);
  });
});

describe('a node that a fusion would take', () => {
  const loweredOn = (target: Target, step: string, dtype: DType) =>
    lower(traced({ program: [[step, 1]] }, dtype), target, { rules: coreRules });
  it.each([
    ['float64', 'x · sigmoid(x)', targets.cpu, 'Mul', 'QuickGeluFusion'],
    ['float64', 'attention, written out', targets.portable(21), 'Mul', 'MatMulScaleFusion'],
    ['float32', 'pool of a padded image', targets.cpu, 'MaxPool', 'Pad_Fusion'],
    ['float16', 'layer norm in float32', targets.cpu, 'Div', 'LayerNormFusion of a Cast'],
    ['bfloat16', 'layer norm, written out', targets.cuda, 'Div', 'LayerNormFusion'],
    ['bfloat16', 'rms norm, written out', targets.cuda, 'Div', 'SimplifiedLayerNormFusion'],
  ] as const)('%s, %s on $name', (dtype, step, target, op, fusion) => {
    const { graph, decisions } = loweredOn(target, step, dtype);
    expect(graph.nodes.some((n) => n.op.key === 'Max')).toBe(true);
    const kept = decisions.find((d) => d.chosen === `${op} → ${op} apart from its operand`)!;
    expect(kept.notes.map(({ code, data }) => [code, data.fusion, data.dtype])).toEqual([['keptFromFusion', fusion, dtype]]);
  });
  it.each([
    ['float32', 'x · sigmoid(x)', targets.cpu],
    ['float16', 'attention, written out', targets.portable(21)],
    ['float32', 'layer norm, written out', targets.cuda],
    ['float64', 'y · sigmoid(x)', targets.cpu],
  ] as const)('stays as it is where the kernel is there: %s, %s on $name', (dtype, step, target) => {
    expect(loweredOn(target, step, dtype).graph.nodes.filter((n) => n.op.key === 'Max')).toEqual([]);
  });
  it('is explained', () => {
    const silu = module({}, ({ a }: Record<string, Value>) => {
      const wide = ops.cast(a!, 'float64');
      return { y: ops.mul(wide, ops.sigmoid(wide)) };
    });
    const model = compile(silu, { target: targets.cpu, inputs: { a: ['float32', dims] }, weights: new Map() });
    expect(printExplanation(explain(model))).toContain("keeps the runtime's QuickGeluFusion from replacing it");
  });
});
