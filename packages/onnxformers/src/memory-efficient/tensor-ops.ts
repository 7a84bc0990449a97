// The ops of xFormers directly on tensors: a small model for each kind of call, whose session is kept for later calls.
import {
  type Assumption,
  ConfigError,
  compile,
  createRunner,
  describe,
  type InputType,
  type Machine,
  type Model,
  module,
  type Ort,
  ops,
  type Runner,
  type RunnerOptions,
  type Target,
  type Tensor,
  type Value,
} from '@onnxformers/core';
import type { AttentionOptions } from './attention';
import { layerNorm, type NormAndSum, rmsNorm, rmsNormAdd, swiglu } from './fused';
import { dtypeIn, expectNumber, expectTensor, type OpCall, type TensorOperand, typeOf } from './op-call';
import { boundedSessions } from './sessions';
import { attentionCall, type TensorBias } from './tensor-attention';

/** Options of {@link createOps}. */
export interface OpsOptions {
  /** The runtime: `import * as ort from 'onnxruntime-node'`. */
  readonly ort: Ort;
  readonly target: Target;
  /** As for `compile`. */
  readonly machine?: Machine;
  /** As for `compile`. */
  readonly assumptions?: readonly Assumption[];
  /** As for `createRunner`. */
  readonly device?: RunnerOptions['device'];
  /** As for `createRunner`. */
  readonly session?: RunnerOptions['session'];
  /** Sessions that stay open when they are not in use. Default 32. */
  readonly maxSessions?: number;
  /** Required for dropout: random numbers come from a hash with this seed, and differ from run to run. */
  readonly seed?: number;
}

/** An open session. */
export interface OpSession {
  readonly op: string;
  /** dtypes, dims and options that its calls have in common. Other sizes can differ from call to call. */
  readonly signature: string;
  /** For `explain(model)`: which kernels run, and why. */
  readonly model: Model;
  /** The execution provider. */
  readonly device: string;
  /** Calls so far. */
  readonly runs: number;
}

/** Ops on tensors. Calls may be made at the same time; those of one session follow one another. */
export interface TensorOps {
  /** {@link xops.memoryEfficientAttention} on tensors. The data of the bias are inputs of the session. */
  memoryEfficientAttention(
    q: TensorOperand,
    k: TensorOperand,
    v: TensorOperand,
    options?: AttentionOptions<TensorBias>,
  ): Promise<Tensor>;
  /** {@link xops.swiglu} on tensors. */
  swiglu(
    x: TensorOperand,
    w1: TensorOperand,
    b1: TensorOperand | undefined,
    w2: TensorOperand,
    b2: TensorOperand | undefined,
    w3: TensorOperand,
    b3: TensorOperand | undefined,
  ): Promise<Tensor>;
  /** {@link xops.rmsNorm} on tensors. */
  rmsNorm(x: TensorOperand, weight?: TensorOperand, eps?: number): Promise<Tensor>;
  /** {@link xops.rmsNormAdd} on tensors. */
  rmsNormAdd(x: TensorOperand, y: TensorOperand, weight?: TensorOperand, eps?: number): Promise<NormAndSum<Tensor>>;
  /** {@link xops.layerNorm} on tensors. */
  layerNorm(x: TensorOperand, weight?: TensorOperand, bias?: TensorOperand, eps?: number): Promise<Tensor>;
  /** The open sessions, the most recently used last. */
  readonly sessions: readonly OpSession[];
  /** Waits for the calls that were made, and frees all sessions. Calling it again only waits again. */
  dispose(): Promise<void>;
}

type Opened = OpSession & { readonly run: Runner; runs: number };

/**
 * The ops of xFormers on tensors. The first call of a kind compiles a model and opens a session; calls of the same kind use it again: the same op, dtype, numbers of
 * heads and channels, kind of mask, scale and dropout, with any batch, sequence lengths and data of the mask. `dispose` frees the sessions.
 *
 * Arithmetic is in the dtype of the operands, float32 or float16, or in float32 where the target computes float16 in it; `explain(session.model)` says so. Results
 * have the dtype of the operands.
 *
 * Throws   ConfigError for options that are unknown or wrong · in calls ShapeError and ConfigError as the op inside a graph, and for operands of other dtypes,
 *          FeedError for sizes that contradict each other, LoweringError where the target cannot run the op, RunError from the runtime and after `dispose`
 *
 * Example  const { memoryEfficientAttention, dispose } = createOps({ ort, target: targets.cpu });
 */
export function createOps(options: OpsOptions): TensorOps {
  const { ort, target, machine, assumptions, device, session, maxSessions = 32, seed } = checked(options);
  const sessions = boundedSessions<Opened>(maxSessions, ({ run }) => run.dispose());

  async function open({ op, inputs, forward }: OpCall, signature: string): Promise<Opened> {
    const dtype = dtypeIn(op, inputs);
    const forwarded = module({}, (values: Readonly<Record<string, Value>>) => {
      const results = Object.entries(forward(values)).map(([name, y]) => [name, ops.cast(y, dtype)] as const);
      return Object.fromEntries(results);
    });
    const model: Model = compile(forwarded, {
      target,
      dtype,
      inputs: Object.fromEntries(
        Object.entries(inputs).map(([name, { feed, dims }]) => [name, [typeOf(feed), dims, 'data'] as InputType]),
      ),
      ...(machine && { machine }),
      ...(assumptions && { assumptions }),
      ...(seed !== undefined && { draws: { seed } }),
    });
    const run = await createRunner(model, ort, { ...(device !== undefined && { device }), ...(session && { session }) });
    return { op, signature, model, device: run.device, run, runs: 0 };
  }
  function call(one: OpCall): Promise<Readonly<Record<string, Tensor>>> {
    for (const [name, value] of Object.entries(one.options))
      if (typeof value === 'number') expectNumber(`${one.op}.${name}`, value);
    const types = Object.entries(one.inputs).map(([name, { feed, dims }]) => `${name} ${typeOf(feed)}[${dims.join(', ')}]`);
    const others = Object.entries(one.options).filter(([, value]) => value !== undefined);
    const signature = [...types, ...others.map(([name, value]) => `${name} ${value}`)].join(' · ');
    const feeds = Object.fromEntries(Object.entries(one.inputs).map(([name, { feed }]) => [name, feed]));
    return sessions.use(
      `${one.op} ${signature}`,
      () => open(one, signature),
      (opened) => {
        opened.runs++;
        return opened.run(feeds);
      },
    );
  }
  return {
    async memoryEfficientAttention(q, k, v, o = {}) {
      return (await call(attentionCall(q, k, v, o, seed !== undefined))).y!;
    },
    async swiglu(x, w1, b1, w2, b2, w3, b3) {
      const one = fusedCall('swiglu', { x, w1, b1, w2, b2, w3, b3 }, ['x'], {}, (v) => ({
        y: swiglu(v.x!, v.w1!, v.b1, v.w2!, v.b2, v.w3!, v.b3),
      }));
      return (await call(one)).y!;
    },
    async rmsNorm(x, weight, eps = 1e-6) {
      const one = fusedCall('rmsNorm', { x, weight }, ['x'], { eps }, (v) => ({ y: rmsNorm(v.x!, v.weight, eps) }));
      return (await call(one)).y!;
    },
    async rmsNormAdd(x, y, weight, eps = 1e-6) {
      const one = fusedCall('rmsNormAdd', { x, y, weight }, ['x', 'y'], { eps }, (v) => {
        const results = rmsNormAdd(v.x!, v.y!, v.weight, eps);
        return { normalized: results.y, sum: results.sum };
      });
      const { normalized, sum } = await call(one);
      return { y: normalized!, sum: sum! };
    },
    async layerNorm(x, weight, bias, eps = 1e-5) {
      const one = fusedCall('layerNorm', { x, weight, bias }, ['x'], { eps }, (v) => ({
        y: layerNorm(v.x!, v.weight, v.bias, eps),
      }));
      return (await call(one)).y!;
    },
    get sessions() {
      return sessions.open();
    },
    dispose: () => sessions.dispose(),
  };
}

const optionNames: { readonly [N in keyof Required<OpsOptions>]: true } = {
  ort: true,
  target: true,
  machine: true,
  assumptions: true,
  device: true,
  session: true,
  maxSessions: true,
  seed: true,
};

function checked(options: OpsOptions): OpsOptions {
  if (typeof options !== 'object' || options === null)
    throw new ConfigError({ path: 'createOps', problem: 'not options', expected: '{ ort, target }', got: describe(options) });
  const known = Object.keys(optionNames);
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new ConfigError({ path: 'createOps', problem: `unknown option "${unknown}"`, hint: `Options: ${known.join(', ')}` });
  const { maxSessions = 1 } = options;
  if (!Number.isSafeInteger(maxSessions) || maxSessions < 1)
    throw new ConfigError({
      path: 'createOps.maxSessions',
      problem: 'not a number of sessions',
      expected: 'an integer of at least 1',
      got: describe(maxSessions),
    });
  return options;
}

// Operands by name; the leading axes of `rows` may have another size in the next call.
function fusedCall(
  op: string,
  given: Readonly<Record<string, TensorOperand | undefined>>,
  rows: readonly string[],
  options: OpCall['options'],
  forward: OpCall['forward'],
): OpCall {
  const entries = Object.entries(given).filter((entry): entry is [string, TensorOperand] => entry[1] !== undefined);
  const inputs = entries.map(([name, feed]) => {
    expectTensor(op, name, feed);
    const isRows = rows.includes(name);
    const dims = feed.dims.map((d, axis) => (isRows && axis < feed.dims.length - 1 ? `rows_${axis}` : d));
    return [name, { feed, dims }] as const;
  });
  return { op, inputs: Object.fromEntries(inputs), options, forward };
}
