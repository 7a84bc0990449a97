// Gradients of blocks against finite differences, in float64.
import { grad } from '../autodiff/grad';
import { evaluateDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import { GraphBuilder, type Value } from '../ir/graph';
import { namesOf } from '../module/module';
import { standalone } from '../module/standalone';
import { add, mul } from '../ops/elementwise';
import { reduceSum } from '../ops/reduce';
import { contextOf } from '../sequence/context-of';
import { isFloat, type NDArray } from '../tensor/tensor';
import { drawsOf, type Example, type Feeds, feedsFor, sizesOf } from './example';
import { randomArray, randomParameters } from './run-block';

const step = 1e-5;
const allowed = 1e-6;

/**
 * Compares the gradient of Σ w · y for each parameter and input with the slope measured along a random direction.
 *
 * @throws Error that names the parameter or input whose gradient is wrong
 */
export function checkExampleGradients(e: Example): void {
  const sizes = sizesOf(e, 5);
  const feeds = feedsFor(e.inputs, sizes);
  const g = new GraphBuilder();
  const inputs = Object.fromEntries(
    Object.entries(e.inputs).map(([name, { dtype, dims }]) => [
      name,
      g.input(
        name,
        dtype,
        dims.map((d) => evaluateDim(d, sizes)),
      ),
    ]),
  );
  const results = standalone(e.module)(inputs, contextOf(g, inputs, { layout: 'padded' })) as Record<string, Value>;
  const loss = Object.entries(results)
    .map(([name, y]) => weighted(g, name, y))
    .reduce((a, b) => add(a, b));
  const { parameters, nameOf } = namesOf(e.module);
  const trained = [...parameters].filter(([, p]) => p.options.trainable !== false);
  const floats = Object.entries(inputs).filter(([, v]) => isFloat(v.dtype));
  const wrt = [...trained.map(([, p]) => g.param(p)), ...floats.map(([, v]) => v)];
  g.output('loss', loss);
  grad(loss, wrt).forEach((dx, i) => {
    g.output(`grad${i}`, dx);
  });
  const graph = g.finish();
  const values = randomParameters(e.module);
  const all: Feeds = { ...feeds, ...drawsOf(graph, sizes) };
  const run = (fed: Feeds, at: Readonly<Record<string, NDArray>>) =>
    interpret(graph, fed, { parameters: (p) => at[nameOf.get(p)!]!, sizes });
  const exact = run(all, values.byName);

  [...trained, ...floats].forEach(([name], i) => {
    const isInput = i >= trained.length;
    const x = isInput ? all[name]! : values.byName[name]!;
    const direction = randomArray(`towards ${name}`, x.dims);
    const lossAt = (t: number): number => {
      const moved = { ...x, data: x.data.map((v, k) => v + t * direction.data[k]!) };
      const y = isInput ? run({ ...all, [name]: moved }, values.byName) : run(all, { ...values.byName, [name]: moved });
      return y.loss!.data[0]!;
    };
    const measured = (lossAt(step) - lossAt(-step)) / (2 * step);
    const dx = exact[`grad${i}`]!.data;
    const slope = dx.reduce((sum, d, k) => sum + d * direction.data[k]!, 0);
    const scale = Math.max(
      1,
      Math.abs(measured),
      Math.abs(exact.loss!.data[0]!),
      dx.reduce((sum, d) => sum + Math.abs(d), 0),
    );
    if (Math.abs(slope - measured) <= allowed * scale) return;
    const what = isInput ? 'input' : 'parameter';
    throw new Error(
      `the gradient of the ${what} ${name} is wrong: along a random direction it says ${slope}, measured ${measured}`,
    );
  });
}

function weighted(g: GraphBuilder, name: string, y: Value): Value {
  const weights = randomArray(`weights of ${name}`, y.dims as number[]);
  const constant = g.constant({ dtype: 'float32', dims: weights.dims, data: Float32Array.from(weights.data) });
  return reduceSum(
    mul(y, constant),
    y.dims.map((_, axis) => axis),
    { keepDims: false },
  );
}
