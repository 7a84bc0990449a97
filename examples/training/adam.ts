// Training steps as graphs: loss, gradients and Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980) in one run.
import {
  type CompileOptions,
  compile,
  createRunner,
  grad,
  initialize,
  type KindModule,
  namesOf,
  ops,
  type SequenceContext,
  type Tensor,
  targets,
  tensor,
  type Value,
  withForward,
} from 'onnxformers';
import * as ort from 'onnxruntime-node';

/** Tensors by the names of a model's inputs, or of its weights. */
export type Tensors = Readonly<Record<string, Tensor>>;

const [beta1, beta2, eps] = [0.9, 0.99, 1e-8];

/** logits [..., classes], labels int64 [...] → the mean of −log p(label) */
function crossEntropy(logits: Value, labels: Value): Value {
  const last = logits.rank - 1;
  const picked = ops.gatherElements(ops.logSoftmax(logits), ops.unsqueeze(labels, [last]), last);
  const axes = Array.from({ length: logits.rank }, (_, i) => i);
  return ops.neg(ops.reduceMean(picked, axes, { keepDims: false }));
}

/** Weights after some steps, and the loss of each step. */
export interface Trained {
  readonly weights: ReadonlyMap<string, Tensor>;
  readonly losses: readonly number[];
}

/** Trains a model with labels as its further input. `batch` returns the inputs and the labels of step 1, 2, … */
export async function train(
  model: KindModule<'model'>,
  inputs: NonNullable<CompileOptions['inputs']>,
  batch: (step: number) => Tensors,
  { steps, rate, seed }: { readonly steps: number; readonly rate: number; readonly seed: number },
): Promise<Trained> {
  const trained = [...namesOf(model).parameters].filter(([, p]) => p.options.trainable !== false);
  const step = withForward(model, (given: Readonly<Record<string, Value>>, ctx: SequenceContext): Record<string, Value> => {
    const { logits } = model.forward(given, ctx);
    const loss = crossEntropy(logits!, given.labels!);
    const weights = trained.map(([, p]) => loss.graph.root.storedParam(p));
    const gradients = grad(loss, weights);
    const next = trained.flatMap(([name], i) => {
      const dw = gradients[i]!;
      const m = ops.add(ops.mul(given[`m.${name}`]!, beta1), ops.mul(dw, 1 - beta1));
      const v = ops.add(ops.mul(given[`v.${name}`]!, beta2), ops.mul(ops.mul(dw, dw), 1 - beta2));
      const w = ops.sub(weights[i]!, ops.mul(given.rate!, ops.div(m, ops.add(ops.sqrt(v), eps))));
      return Object.entries({ [name]: w, [`m.${name}`]: m, [`v.${name}`]: v });
    });
    return { loss, ...Object.fromEntries(next.map(([name, value]) => [`next.${name}`, value])) };
  });
  const moments = trained.flatMap(([name, { dims }]) =>
    ['m', 'v'].map((which) => [`${which}.${name}`, ['float32', dims]] as const),
  );
  const compiled = compile(step, {
    target: targets.cpu,
    inputs: { ...inputs, rate: ['float32', []], ...Object.fromEntries(moments) },
    parameters: () => 'input',
    draws: { seed },
    training: true,
  });

  let state: Record<string, Tensor> = {};
  for (const [name, lazy] of initialize(model, { seed })) {
    const weight = await lazy.load();
    const zeros = tensor('float32', weight.dims, new Float32Array(weight.data.length));
    state = { ...state, [name]: weight, [`m.${name}`]: zeros, [`v.${name}`]: zeros };
  }
  const run = await createRunner(compiled, ort);
  const losses: number[] = [];
  for (let t = 1; t <= steps; t++) {
    // The corrections of the moments' bias are part of the rate.
    const corrected = (rate * Math.sqrt(1 - beta2 ** t)) / (1 - beta1 ** t);
    const { loss, ...next } = await run({ ...batch(t), rate: tensor('float32', [], [corrected]), ...state });
    losses.push(Number(loss!.data[0]));
    state = Object.fromEntries(Object.entries(next).map(([name, value]) => [name.slice('next.'.length), value]));
  }
  await run.dispose();
  return { losses, weights: new Map(trained.map(([name]) => [name, state[name]!])) };
}
