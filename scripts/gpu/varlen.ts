// Sequences of different lengths on a GPU: padded and packed, causal and not. torch-varlen.py is the same model in PyTorch.

import {
  spreadLengths,
  type VarlenLayout,
  type VarlenSizes,
  varlenCase,
  varlenSizes,
  varlenWeights,
} from '../../packages/onnxformers/src/bench/varlen';
import { createRunner, type Ort, type RunnerOptions, type Target, toArray } from '../../packages/onnxformers/src/index';
import { check, logged, median, result, section, table } from './report';

const machine = { runtime: '1.30.0', sm: 90 };
const layouts: readonly VarlenLayout[] = ['padded to seqLen', 'padded', 'packed'];
const cases = (process.env.DTYPES ?? 'float16,bfloat16')
  .split(',')
  .flatMap((dtype) => [false, true].flatMap((causal) => layouts.map((layout) => ({ dtype, causal, layout }))));
// A small model to try the script without a GPU.
const small: VarlenSizes = {
  depth: 2,
  heads: 3,
  headDim: 16,
  hidden: 61,
  vocabSize: 53,
  seqLen: 64,
  lengths: spreadLengths(7, 61, 0.3),
};

interface Outcome {
  readonly rows: number;
  readonly loss: number;
  readonly milliseconds: number;
  /** Milliseconds to compile the model, to make its weights and to open a session. */
  readonly opening: number;
}

/** Runs all, timed. The runtime may print its kernels meanwhile: it launches them long before the GPU runs them. */
export async function runVarlen({ ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions }): Promise<void> {
  const sizes = target.name === 'cuda' ? varlenSizes : small;
  const weights = new Map<string, ReturnType<typeof varlenWeights>>();
  for (const { dtype, causal, layout } of cases) {
    section(`${dtype} ${causal ? 'causal' : 'bidirectional'} ${layout}`);
    try {
      const start = performance.now();
      if (!weights.has(dtype)) weights.set(dtype, varlenWeights(sizes, dtype as 'float16'));
      const about = { target, machine, dtype: dtype as 'float16', weights: weights.get(dtype)! };
      const { model, feeds, rows } = varlenCase(sizes, { causal, layout }, about);
      const run = await createRunner(model, ort, options);
      const opening = performance.now() - start;
      const { loss } = await run(feeds);
      const times: number[] = [];
      for (let i = 0; i < 30; i++) {
        const start = performance.now();
        await run(feeds);
        if (i > 4) times.push(performance.now() - start);
      }
      await run.dispose();
      result({ rows, loss: toArray(loss!).data[0]!, milliseconds: median(times), opening });
    } catch (error) {
      result({ error: (error as Error).message.slice(0, 300) });
    }
  }
}

/** Times and kernels of all, and whether they agree. */
export function varlen(folder: string): void {
  const timed = logged('run-varlen', folder);
  const outcomes = timed.map((s) => s.result as Outcome & { readonly error?: string });
  table([
    ['case', 'rows', 'milliseconds a run', 'seconds to open', 'loss', 'attention kernels'],
    ...outcomes.map((o, i) => [
      timed[i]!.name,
      o.rows,
      o.milliseconds?.toFixed(2),
      o.error ? '' : (o.opening / 1000).toFixed(1),
      o.error ?? o.loss.toFixed(1),
      Object.keys(timed[i]!.kernels).join(', ') || 'none printed',
    ]),
  ]);
  for (let i = 0; i < outcomes.length; i += layouts.length) {
    const losses = outcomes.slice(i, i + layouts.length).map((o) => o.loss);
    const [least, most] = [Math.min(...losses), Math.max(...losses)];
    // The mean of 17,267 roundings is far more precise than one of them.
    check(`${timed[i]!.name}: the same loss in all layouts`, most - least <= 2 ** -9 * most, `${least} to ${most}`);
  }
}
