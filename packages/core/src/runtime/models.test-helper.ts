// Small models for the tests of runners.

import { compile, type Model, type Signature } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { initialize } from '../compile/initialize';
import type { Assumption } from '../ir/assumption';
import type { Value } from '../ir/graph';
import { embedding } from '../layers/embedding';
import { linear } from '../layers/linear';
import { and, causal } from '../mask/index';
import { module } from '../module/module';
import { add, mul } from '../ops/elementwise';
import { matmul } from '../ops/matmul';
import { attend, type SequenceContext, updateCache } from '../sequence/context';
import { splitHeads } from '../sequence/layout';
import { portable } from '../targets/portable';
import { tensor } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { prepareAssumptions } from './assumptions';
import { type Feeds, prepareFeeds } from './feeds';

type Inputs = Readonly<Record<string, Value>>;

const compiled = (m: Parameters<typeof compile>[0], inputs: CompileOptions['inputs'], o: Partial<CompileOptions> = {}): Model =>
  compile(m, { target: portable(21), inputs, weights: initialize(m, { seed: 3 }), ...o });

/** a [n, 3], b [n, 3] → sum [n, 3], product [n, 3] */
export const arithmetic = (o: Partial<CompileOptions> = {}): Model =>
  compiled(
    module({}, ({ a, b }: Inputs) => ({ sum: add(a!, b!), product: mul(a!, b!) })),
    { a: ['float32', ['n', 3]], b: ['float32', ['n', 3]] },
    o,
  );

/** ids [batch, seq] → y [batch, seq, 5]; two modules, `embed` of 7 rows and `layers.0` */
export function lookup(o: Partial<CompileOptions> = {}): Model {
  const embed = embedding(7, 13);
  const layers = [linear(13, 5)];
  return compiled(
    module({ embed, layers }, ({ ids }: Inputs) => ({ y: layers[0]!(embed(ids!)) })),
    { ids: ['int64', ['batch', 'seq']] },
    o,
  );
}

/** x [n, n] → y, its 25th power: a long run for a large n */
export const power = (): Model =>
  compiled(
    module({}, ({ x }: Inputs) => {
      let y = x!;
      for (let i = 0; i < 24; i++) y = matmul(y, x!);
      return { y };
    }),
    { x: ['float32', ['n', 'n']] },
  );

/** The identity matrix of n rows. */
export const identity = (n: number): Tensor =>
  tensor(
    'float32',
    [n, n],
    Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
  );

/** The same without limits: a kernel receives feeds that a runner would refuse, as it does with ids that a graph computes. */
export function unlimited(model: Model): Model {
  const { inputs, outputs } = model.signature;
  return { ...model, signature: { inputs, outputs } };
}

/** x [batch, seq, 8] (or packed tokens) → y of the same dims: one causal attention of two heads with a KV cache */
export function attention(inputs: CompileOptions['inputs'], o: Partial<CompileOptions> = {}): Model {
  const [q, k, v] = [linear(8, 8), linear(8, 8), linear(8, 8)];
  const m = module({ q, k, v }, ({ x }: Inputs, ctx: SequenceContext) => {
    const heads = (p: typeof q) => splitHeads(p(x!), 2, ctx.layout);
    const [keys, values, own] = updateCache(ctx, heads(k), heads(v));
    return { y: attend(heads(q), keys, values, { ...own, mask: and(own.mask, causal) }) };
  });
  return compiled(m, inputs, o);
}

/** A float32 tensor counting up. */
export const counting = (...dims: number[]): Tensor =>
  tensor(
    'float32',
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => i + 1),
  );

/** Feeds, checked and completed as the first runs of a runner have them. */
export function completeFeeds(signature: Signature, feeds: Feeds, run: number): Record<string, Tensor> {
  const table = prepareFeeds(signature);
  const { tensors } = table.complete(feeds);
  table.number(tensors, run);
  return Object.fromEntries(signature.inputs.flatMap(({ name }, at) => (tensors[at] ? [[name, tensors[at]] as const] : [])));
}

/** Throws as a runner where feeds break an assumption. */
export const checkAssumed = (assumptions: readonly Assumption[], signature: Signature, tensors: Record<string, Tensor>): void =>
  prepareAssumptions(
    assumptions,
    signature,
    () => false,
  )({ tensors: signature.inputs.map(({ name }) => tensors[name]), handed: [], sizes: new Map() });
