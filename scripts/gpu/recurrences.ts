// The kernel of recurrences beside their definition in chunks, by length.
import {
  compile,
  createRunner,
  initialize,
  type Ort,
  type RunnerOptions,
  type Target,
  targets,
  tensor,
  zoo,
} from '../../packages/onnxformers/src/index';

const [dim, heads] = [1024, 8];
const mixers = [
  { name: 'gated_delta_net', dim, heads, headDim: 128 },
  { name: 'mamba2', dim, heads: 32, headDim: 64 },
  { name: 'retention', dim, heads: 8, headDim: 128 },
  { name: 'gated_linear_attention', dim, heads: 8, headDim: 64, valueHeadDim: 128 },
] as const;

/** Milliseconds of each mixer with and without the kernels, in float16, with the copies of its input and result. */
export async function recurrences(
  { ort, target, options }: { readonly ort: Ort; readonly target: Target; readonly options: RunnerOptions },
  print: (x: unknown) => void,
): Promise<void> {
  for (const config of mixers) {
    const m = zoo.build('mixer', config);
    for (const on of [target, targets.portable(23)]) {
      const model = compile(m, {
        target: on,
        dtype: 'float16',
        inputs: { x: ['float16', ['batch', 'seq', dim]] },
        weights: initialize(m, { seed: 1 }),
      });
      const run = await createRunner(model, ort, options);
      for (const seq of [1, 256, 1024, 4096, 16384]) {
        const x = tensor(
          'float16',
          [1, seq, dim],
          Array.from({ length: seq * dim }, (_, i) => Math.sin(i)),
        );
        const label = { what: 'recurrences', mixer: config.name, target: on.name, seq };
        try {
          const times: number[] = [];
          for (let i = 0; i < 4; i++) {
            const start = performance.now();
            await run({ x });
            times.push(performance.now() - start);
          }
          print({ ...label, milliseconds: Math.min(...times.slice(1)) });
        } catch (error) {
          print({ ...label, error: (error as Error).message.slice(0, 300) });
        }
      }
      await run.dispose();
    }
  }
}
