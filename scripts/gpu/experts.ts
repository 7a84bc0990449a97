// The kernel of mixtures of experts on a GPU at the smallest widths that the target gives it, and what it does below them.
import { randomArray, randomParameters } from '../../packages/core/src/testing/index';
import {
  compile,
  createRunner,
  interpret,
  type Ort,
  type Parameter,
  type RunnerOptions,
  type Target,
  toArray,
  toTensor,
  zoo,
} from '../../packages/onnxformers/src/index';
import { check, table } from './report';

const widths = [
  [16, 16],
  [16, 20],
  [20, 16],
  [36, 28],
  [64, 132],
  // Below the limit, or no multiples of 4.
  [8, 16],
  [12, 16],
  [16, 12],
  [18, 16],
] as const;

/** Compares the kernel with the interpreter; widths that the target refuses are tried without its refusal. */
export async function experts({ ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions }): Promise<void> {
  const key = 'com.microsoft.MoE';
  const { accepts: _, ...open } = target.kernels[key] ?? { dtypes: [] };
  const unlimited: Target = { ...target, kernels: { ...target.kernels, [key]: open } };
  const rows: string[][] = [['channels', 'hidden', 'experts, of each token', 'the target', 'largest error', 'unit']];
  for (const [dim, hidden] of widths)
    for (const [count, topK] of [
      [3, 2],
      [5, 1],
    ] as const) {
      const label = [`${dim}`, `${hidden}`, `${count}, ${topK}`];
      const m = zoo.parse('feedforward', { name: 'sparse_moe', dim, hidden, experts: count, topK } as never) as never;
      const inputs = { x: ['float32', [2, 13, dim]] } as const;
      const compiled = (on: Target) => compile(m, { target: on, machine: { runtime: '1.30.0', sm: 90 }, inputs, weights });
      const { byName } = randomParameters(m);
      const weights = new Map(Object.entries(byName).map(([name, array]) => [name, toTensor(array)]));
      const takes = compiled(target).graph.nodes.some(({ op }) => op.key === key);
      try {
        const model = compiled(unlimited);
        const x = randomArray('x', [2, 13, dim]);
        const parameters = (p: Parameter) => byName[model.names.nameOf.get(p)!]!;
        const expected = Object.values(interpret(model.traced, { x }, { parameters }))[0]!;
        const run = await createRunner(model, ort, options);
        const got = toArray(Object.values(await run({ x: toTensor(x) } as never))[0]!);
        await run.dispose();
        const size = expected.data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const error = expected.data.reduce((worst, y, i) => Math.max(worst, Math.abs(y - got.data[i]!)), 0);
        rows.push([...label, takes ? 'takes it' : 'refuses it', error.toExponential(1), (size * 2 ** -11).toExponential(1)]);
        if (takes) check(`experts ${label.join(', ')}`, error <= 8 * size * 2 ** -10, error.toExponential(1));
      } catch (error) {
        rows.push([...label, takes ? 'takes it' : 'refuses it', (error as Error).message.replace(/\s+/g, ' ').slice(0, 160), '']);
        if (takes) check(`experts ${label.join(', ')}`, false, 'fails');
      }
    }
  table(rows);
}
