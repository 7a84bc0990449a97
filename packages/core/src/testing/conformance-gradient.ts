// Gradients of blocks against finite differences, in float64.
import { grad } from '../autodiff/grad';
import { evaluateDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import { nameOf as nameOfInput, type Value } from '../ir/graph';
import { namesOf } from '../module/module';
import { standalone } from '../module/standalone';
import { add, mul } from '../ops/elementwise';
import { reduceSum } from '../ops/reduce';
import { GraphBuilder } from '../ops/vocabulary';
import { contextOf } from '../sequence/context-of';
import { isFloat, type NDArray } from '../tensor/tensor';
import { drawsOf, type Example, type Feeds, feedsFor, sizesOf } from './example';
import { randomArray, randomParameters } from './run-block';

const step = 1e-5;
const allowed = 1e-6;

/**
 * Compares the gradient of Σ w · y for each parameter and input with a finite difference along a random direction. Traced at symbolic sizes, as
 * a model is, so that branches on sizes are included.
 *
 * @throws Error that names the parameter or input whose gradient is wrong
 */
export function checkExampleGradients(e: Example): void {
  const sizes = sizesOf(e, 5);
  const feeds = feedsFor(e.inputs, sizes);
  const g = new GraphBuilder();
  const inputs = Object.fromEntries(
    Object.entries(e.inputs).map(([name, { dtype, dims }]) => [name, g.input(name, dtype, dims)]),
  );
  const results = standalone(e.module)(inputs, contextOf(g, inputs, { layout: 'padded' })) as Record<string, Value>;
  const weights = Object.entries(results).map(([name, y]) => g.input(`weights of ${name}`, y.dtype, y.dims));
  const loss = Object.values(results)
    .map((y, i) => reduceSum(mul(y, weights[i]!), [...y.dims.keys()], { keepDims: false }))
    .reduce((a, b) => add(a, b));
  const { parameters, nameOf } = namesOf(e.module);
  const trained = [...parameters].filter(([, p]) => p.options.trainable !== false);
  const floats = Object.entries(inputs).filter(([, v]) => isFloat(v.dtype));
  const wrt = [...trained.map(([, p]) => p), ...floats.map(([, v]) => v)];
  g.output('loss', loss);
  grad(loss, wrt).forEach((dx, i) => {
    g.output(`grad${i}`, dx);
  });
  const graph = g.finish();
  const values = randomParameters(e.module);
  const weighted = weights.map((v) => {
    const dims = v.dims.map((d) => evaluateDim(d, sizes));
    return [nameOfInput(v)!, randomArray(nameOfInput(v)!, dims)] as const;
  });
  const all: Feeds = { ...feeds, ...drawsOf(graph, sizes), ...Object.fromEntries(weighted) };
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
