// Every attention of the rules' own tests on the GPU, as it is lowered for several machines, against the float64 interpreter.
import {
  type AttendCase,
  attendCases,
  feedsOf,
  inputsOf,
  modelOf,
} from '../../packages/attention/src/kernels/attend-cases.test-helper';
import { kernels } from '../../packages/attention/src/kernels/index';
import { randomArray, randomParameters } from '../../packages/core/src/testing/index';
import {
  castTensor,
  compile,
  createRunner,
  type DType,
  interpret,
  type Machine,
  type Model,
  multiHead,
  type NDArray,
  type Ort,
  type RunnerOptions,
  scaledDotProduct,
  type Target,
  type Tensor,
  toArray,
  toTensor,
} from '../../packages/onnxformers/src/index';

type ModelDType = 'float32' | 'float16' | 'bfloat16';
// Products of float32 are made in TF32 there.
const ulps: Readonly<Record<ModelDType, number>> = { float32: 2 ** -10, float16: 2 ** -10, bfloat16: 2 ** -7 };
const machines: readonly Machine[] = [{ sm: 90 }, { sm: 80 }, { sm: 90, cudnn: 'none' }];

interface Trial {
  readonly name: string;
  readonly feeds: Readonly<Record<string, NDArray>>;
  compiled(target: Target, machine: Machine, dtype: ModelDType): Model;
}

const outside = (dtype: ModelDType): DType => (dtype === 'bfloat16' ? 'float32' : dtype);
const weightsOf = (module: Parameters<typeof compile>[0]): Map<string, Tensor> =>
  new Map(Object.entries(randomParameters(module).byName).map(([name, array]) => [name, toTensor(array)]));

function trialOf(c: AttendCase): Trial {
  const module = modelOf(c);
  const weights = weightsOf(module);
  return {
    name: c.name,
    feeds: feedsOf(c),
    compiled: (target, machine, dtype) =>
      compile(module, {
        target,
        machine,
        dtype,
        rules: kernels,
        weights,
        inputs: inputsOf(c, outside(dtype)),
        assumptions: ['prefill into empty cache', 'finite padding'],
      }),
  };
}

function packedTrial({ bias = true, kvHeads = 2, causal = false, softcap = 0 } = {}): Trial {
  const attention = scaledDotProduct({ causal, ...(softcap && { softcap }) });
  const module = multiHead({ dim: 128, heads: 2, kvHeads, bias, attention });
  const weights = weightsOf(module);
  const lengths = { dtype: 'int64', dims: [4], data: Float64Array.from([37, 0, 101, 5]) } as const;
  return {
    name: `packed${causal ? ', causal' : ''}${softcap ? ', softcap' : ''}, ${kvHeads} key heads, ${bias ? 'with' : 'without'} biases`,
    feeds: { x: randomArray('x', [143, 128]), lengths },
    compiled: (target, machine, dtype) =>
      compile(module, {
        target,
        machine,
        dtype,
        weights,
        layout: 'packed',
        inputs: { x: [outside(dtype), ['tokens', 128]], lengths: ['int64', ['sequences']] },
      }),
  };
}

const rounded = (array: NDArray, dtype: ModelDType): NDArray =>
  array.dtype === 'float32' ? { ...toArray(castTensor(toTensor(array), dtype)), dtype: outside(dtype) } : array;

async function worst(
  model: Model,
  feeds: Readonly<Record<string, NDArray>>,
  dtype: ModelDType,
  ort: Ort,
  options: RunnerOptions,
): Promise<number> {
  const { byName } = randomParameters(model.module);
  const parameters = new Map([...model.names.parameters].map(([name, p]) => [p, { ...rounded(byName[name]!, dtype), dtype }]));
  const offsets = model.traced.inputs.some((v) => v.leaf && 'name' in v.leaf && v.leaf.name === 'offsets_of_lengths');
  const values = Object.fromEntries(Object.entries(feeds).map(([name, array]) => [name, rounded(array, dtype)]));
  const sums = offsets
    ? { offsets_of_lengths: { dtype: 'int64', dims: [5], data: Float64Array.from([0, 37, 37, 138, 143]) } as const }
    : {};
  const expected = interpret(model.traced, { ...values, ...sums }, { parameters: (p) => parameters.get(p)! });
  const run = await createRunner(model, ort, options);
  const got = await run(Object.fromEntries(Object.entries(values).map(([name, array]) => [name, toTensor(array)])));
  await run.dispose();
  return Math.max(
    ...Object.entries(expected).map(([name, { data }]) => {
      const size = data.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
      const other = toArray(got[name]!).data;
      return (
        data.reduce(
          (m, x, i) => Math.max(m, Math.abs(x - other[i]!) || (Number.isNaN(other[i]!) ? Number.POSITIVE_INFINITY : 0)),
          0,
        ) / size
      );
    }),
  );
}

/** Prints differences, and how many agree within 8 units in the last place of the largest element. */
export async function attentions(ort: Ort, target: Target, options: RunnerOptions, print: (x: unknown) => void): Promise<void> {
  const trials = [
    ...attendCases.map(trialOf),
    packedTrial(),
    packedTrial({ bias: false }),
    packedTrial({ causal: true }),
    packedTrial({ kvHeads: 1 }),
    packedTrial({ kvHeads: 1, causal: true }),
    packedTrial({ causal: true, softcap: 0.7 }),
  ];
  let [passed, failed] = [0, 0];
  for (const dtype of ['float32', 'float16', 'bfloat16'] as const)
    for (const machine of machines)
      for (const { name, feeds, compiled } of trials) {
        const about = { what: 'attentions', name, dtype, machine };
        try {
          const model = compiled(target, machine, dtype);
          const error = await worst(model, feeds, dtype, ort, options);
          const ok = error <= 8 * ulps[dtype];
          if (ok) passed++;
          else failed++;
          if (!ok)
            print({
              ...about,
              chosen: model.decisions.find((d) => d.op === 'onnxformers.Attend')?.chosen,
              error,
              budget: 8 * ulps[dtype],
            });
        } catch (error) {
          failed++;
          print({ ...about, error: (error as Error).message.slice(0, 300) });
        }
      }
  print({ what: 'attentions', passed, failed });
}
