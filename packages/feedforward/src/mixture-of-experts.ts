// A feed-forward of several experts, of which each token uses one or two. Lepikhin et al. 2020, https://arxiv.org/abs/2006.16668
import {
  addAuxiliaryLoss,
  bool,
  ConfigError,
  ceilDivDims,
  choice,
  type Dim,
  defineBlock,
  dropout,
  init,
  int,
  module,
  mulDims,
  num,
  Parameter,
  realPositionsOf,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { gelu } from './activations/gelu';
import { throughSlots, withoutLimit } from './dispatch';
import { type ActivationName, type ExpertMaps, experts as mix } from './experts';
import { useByExpert } from './kernels/by-expert';
import { useFastGelu } from './kernels/fast-gelu';
import { useGelu } from './kernels/gelu';
import { useMoE } from './kernels/moe';
import { useQuickGelu } from './kernels/quick-gelu';
import { balanceLoss, type Choice, limited, normalized, routeByGate, routeInTurn } from './routing';

/**
 * Experts, of which each token uses one or two: a router's softmax chooses them and weights their results.
 *
 *     g = softmax(W_r x)
 *     top_1         y = g[i₁] · f_{i₁}(x)
 *     top_2         y = (g[i₁] · f_{i₁}(x) + g[i₂] · f_{i₂}(x)) / (g[i₁] + g[i₂])
 *     round_robin   y = f_{t mod experts}(x)      t: number of the token
 *     f_i(x) = W₂ᵢ f(W₁ᵢ x + b₁ᵢ) + b₂ᵢ
 *
 * With a `capacity`, an expert processes at most ⌈capacity · tokens / experts⌉ tokens of a batch, first choices before second ones, in the
 * order of positions (all first positions of the batch, then all second ones). Tokens beyond that get nothing from the expert: their weight is 0, and
 * the weights of a token that is left with one expert are divided by its gate. Padding has no influence and takes no capacity. Whether a token is
 * dropped depends on other positions. With top_2, whose second choices come after all first ones, these include later positions.
 *
 * In training, the second expert is sampled, by Gumbel noise on the logits, and the auxiliary loss of the model contains
 * mean over experts of (mean g · share of the tokens with that first choice); see `auxiliaryLoss`.
 *
 * Shapes   x [batch, seq, dim] or packed [tokens, dim] → the same
 * Dtypes   float32, float16, bfloat16; router and gates in float32
 * Masks    all kinds; with a capacity only lengths and keyPadding, and causal with top_1, unless compat accepts all masks, as that library does
 * Cost     with a capacity or round_robin O(tokens · capacity · dim · hidden); otherwise O(tokens · dim · hidden) for one or two experts of each token on portable, cpu
 *          and wasm, on cuda in float32 with relu in the kernel MoE, and O(tokens · experts · dim · hidden) elsewhere, with other activations than those of
 *          `sparse_moe`, and in training
 * Throws   ConfigError for top_2 of one expert, a capacity of round_robin, and, with a capacity or round_robin, for a packed batch and a state:
 *          what a token gets depends on the whole batch
 * Source   Lepikhin et al. 2020, https://arxiv.org/abs/2006.16668; top_1: Fedus et al. 2021, https://arxiv.org/abs/2101.03961
 * Lowers   portable: MatMul, ArgMax, TopK, Slice, Gather, Softmax, Gelu, with a capacity ScatterElements, CumSum · cpu, wasm: MatMul, ArgMax, TopK, Slice, Gather,
 *          Softmax, Gelu, QuickGelu, with a capacity ScatterElements, CumSum · webgpu, cuda: MatMul, ArgMax, Gather, Softmax, Gelu, QuickGelu, with a capacity
 *          ScatterElements, CumSum
 * Example  const block = mixtureOfExperts({ dim: 512, experts: 8, capacity: 2 });
 */
export const mixtureOfExperts = defineBlock({
  kind: 'feedforward',
  name: 'mixture_of_experts',
  summary: 'Several feed-forwards, of which each token uses one or two.',
  source: 'Lepikhin et al. 2020, https://arxiv.org/abs/2006.16668',
  masks: ({ capacity, gate, compat }) =>
    capacity === undefined || compat ? 'all' : ['lengths', 'keyPadding', ...(gate === 'top_1' ? (['causal'] as const) : [])],
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** hidden channels of each expert. Default: computed from other options. */
    hidden: int({
      doc: 'hidden channels of each expert',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number }) => 4 * c.dim,
    }),
    /** number of experts. */
    experts: int({ doc: 'number of experts', min: 1 }),
    /** experts of a token: the one or two with the largest gates, or each in turn. Default: `"top_2"`. */
    gate: choice(['top_1', 'top_2', 'round_robin'], {
      doc: 'experts of a token: the one or two with the largest gates, or each in turn',
      default: 'top_2',
    }),
    /** tokens that an expert processes at most, as a multiple of tokens / experts; absent: no limit. Optional. */
    capacity: num({
      doc: 'tokens that an expert processes at most, as a multiple of tokens / experts; absent: no limit',
      above: 0,
      max: 1e6,
      optional: true,
    }),
    /** in training, top_2 samples the second expert by noise on the logits. Default: `true`. */
    noise: bool({ doc: 'in training, top_2 samples the second expert by noise on the logits', default: true }),
    /** the linear maps of the experts have a bias. Default: `true`. */
    bias: bool({ doc: 'the linear maps of the experts have a bias', default: true }),
    /** dropout probability after each linear map in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability after each linear map in training', min: 0, max: 0.99, default: 0 }),
    /** activation between the linear maps. Default: `gelu`. */
    activation: slot('activation', { doc: 'activation between the linear maps', default: gelu }),
    /** xformers: the second expert is sampled in inference too, and a capacity accepts all masks. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: the second expert is sampled in inference too, and a capacity accepts all masks',
      optional: true,
    }),
  },
  examples: [
    { dim: 7, experts: 3, hidden: 11 },
    { dim: 5, experts: 5, hidden: 7, gate: 'top_1', bias: false, activation: 'silu' },
    { dim: 5, experts: 3, hidden: 7, capacity: 1 },
    { dim: 5, experts: 3, hidden: 7, gate: 'top_1', capacity: 0.75 },
    { dim: 7, experts: 2, hidden: 5, gate: 'round_robin' },
  ],
  properties: ({ capacity, gate, compat }) =>
    // Tokens take turns over the whole batch, so the expert of one depends on the size of the batch.
    gate === 'round_robin'
      ? ['causal', 'deterministic']
      : capacity !== undefined || compat
        ? gate === 'top_1'
          ? ['causal', 'deterministic']
          : []
        : ['batchIndependent', 'permutationEquivariant', 'causal', 'deterministic'],
  rules: [useMoE, useByExpert, useQuickGelu, useGelu, useFastGelu],
  create(c, { path }) {
    const { dim, experts, gate, capacity, compat, dropout: p, activation } = c;
    check(c, path);
    const weight = new Parameter([experts, dim], init.fanIn(), { role: 'router', part: 'weight', dtype: 'float32' });
    const router =
      gate === 'round_robin' ? undefined : module({ weight }, (x: Value) => ops.linear(ops.cast(x, 'float32'), weight));
    const all = Array.from({ length: experts }, () => expert(c));
    const [up, down] = [all.map((e) => e.up), all.map((e) => e.down)];
    const apply = (rows: Value): Value => dropout(affine(dropout(activation(affine(rows, up)), p), down), p);
    const dependent = capacity !== undefined || !router;

    return module({ router, experts: all, activation }, (x: Value, ctx: SequenceContext) => {
      if (dependent) refuseCalls(ctx, path);
      const tokens = inOrder(x);
      const count = tokens.dims[0]!;
      const real = realTokens(x, ctx);
      const slots = (times: number) => ({ experts, slots: share(count, times, experts) });
      if (!router) return backInOrder(throughSlots(tokens, [routeInTurn(tokens, experts, real)], apply, slots(1)), x);

      const logits = router(x);
      const noisy = gate === 'top_2' && c.noise && (compat !== undefined || x.graph.root.training);
      const noise = noisy ? inOrder(gumbel(logits)) : undefined;
      const routing = routeByGate(inOrder(logits), gate === 'top_1' ? 1 : 2, noise);
      addAuxiliaryLoss(ctx, balanceLoss(routing, real));
      if (capacity === undefined) {
        const choices = normalized(routing.choices);
        // Dropout differs between the hidden channels of the same token in two experts, which the op does not express.
        const known = p && x.graph.root.training ? undefined : knownActivation(activation, x);
        if (!known) return backInOrder(withoutLimit(tokens, choices, apply), x);
        const attrs = { activation: known, limit: 0, offset: 0, chosen: choices.length };
        return backInOrder(mix(tokens, weightsOf(choices), mapsOf(x, up, down), attrs), x);
      }
      const limit = real
        ? shareOf(x.graph.ops.reduceSum(real, [0], { keepDims: false }), capacity, experts)
        : x.graph.ops.size(tokens, share(count, capacity, experts));
      const placed = normalized(limited(routing.choices, real, limit));
      return backInOrder(throughSlots(tokens, placed, apply, slots(capacity)), x);
    });
  },
});

interface Options {
  readonly dim: number;
  readonly hidden: number;
  readonly experts: number;
  readonly gate: string;
  readonly capacity: number | undefined;
  readonly bias: boolean;
}

function check({ experts, gate, capacity }: Options, path: string): void {
  if (gate === 'top_2' && experts < 2)
    throw new ConfigError({
      path: `${path}.experts`,
      problem: 'top_2 chooses two different experts',
      expected: '2 or more',
      got: String(experts),
      hint: "Use gate: 'top_1'",
    });
  if (gate === 'round_robin' && capacity !== undefined)
    throw new ConfigError({
      path: `${path}.capacity`,
      problem: 'round_robin gives all experts the same number of tokens',
      expected: 'no capacity',
      got: `gate round_robin with capacity ${capacity}`,
    });
  if (capacity !== undefined && !fraction(capacity))
    throw new ConfigError({
      path: `${path}.capacity`,
      problem: 'the number of slots is computed in integers',
      expected: 'a multiple of 1/1000',
      got: String(capacity),
    });
}

function refuseCalls({ layout, state }: SequenceContext, path: string): void {
  if (layout.kind !== 'packed' && !state) return;
  throw new ConfigError({
    path,
    problem: 'the expert of a token depends on the whole batch',
    expected: 'a padded batch, in one call',
    got: state ? 'a state between calls' : 'a packed batch',
    hint: 'Use gate top_1 or top_2 without a capacity',
  });
}

// ---- Experts ----------------------------------------------------------------------------------------------------------

/** A linear map of one expert. */
type Affine = {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
};

function expert({ dim, hidden, bias }: Options) {
  const map = (from: number, to: number): Affine => ({
    weight: new Parameter([to, from], init.fanIn(from), { role: 'hidden', part: 'weight' }),
    bias: bias ? new Parameter([to], init.fanIn(from), { role: 'hidden', part: 'bias' }) : undefined,
  });
  return { up: map(dim, hidden), down: map(hidden, dim) } as const;
}

/** A part of the linear maps of all experts, stacked once, when the model is written; undefined for biases that they do not have. */
function stacked(near: Value, maps: readonly Affine[], part: 'weight' | 'bias'): Value | undefined {
  const rows = maps.flatMap((map) => map[part] ?? []).map((p) => ops.unsqueeze(near.graph.root.param(p), [0]));
  return rows.length ? ops.concat(rows, 0) : undefined;
}

/** The linear maps of all experts: [experts or 1, rows, from] → [experts, rows, to]. */
function affine(rows: Value, maps: readonly Affine[]): Value {
  const y = ops.matmul(rows, ops.swapLast(stacked(rows, maps, 'weight')!));
  const bias = stacked(rows, maps, 'bias');
  return bias ? ops.add(y, ops.unsqueeze(bias, [1])) : y;
}

const mapsOf = (near: Value, up: readonly Affine[], down: readonly Affine[]): ExpertMaps => ({
  up: stacked(near, up, 'weight')!,
  down: stacked(near, down, 'weight')!,
  upBias: stacked(near, up, 'bias'),
  downBias: stacked(near, down, 'bias'),
});

/** The name of an activation that is a function of the library, whatever its block is called. */
function knownActivation({ forward }: { readonly forward: unknown }, { graph: { ops } }: Value): ActivationName | undefined {
  const { gelu, geluTanh: gelu_tanh, quickGelu: quick_gelu, relu, silu } = ops;
  const named = Object.entries({ gelu, gelu_tanh, quick_gelu, relu, silu });
  return named.find(([, f]) => f === forward)?.[0] as ActivationName | undefined;
}

/** The weights of all experts, which are 0 for those that are not chosen, float32 [tokens, experts]. */
const weightsOf = (choices: readonly Choice[]): Value =>
  choices
    .map(({ member, weight }) => ops.mul(ops.cast(member, 'float32'), ops.unsqueeze(weight, [1])))
    .reduce((a, b) => ops.add(a, b));

// ---- Tokens -----------------------------------------------------------------------------------------------------------

/** [batch, seq, n] → [seq · batch, n]; packed: as it is. */
function inOrder(x: Value): Value {
  if (x.rank === 2) return x;
  const [batch, seq, n] = x.dims as [Dim, Dim, Dim];
  return ops.reshape(ops.transpose(x, [1, 0, 2]), [mulDims(seq, batch), n]);
}

function backInOrder(y: Value, x: Value): Value {
  if (x.rank === 2) return y;
  return ops.transpose(ops.reshape(y, [x.dims[1]!, x.dims[0]!, y.dims[1]!]), [1, 0, 2]);
}

/** 1 for the tokens that are not padding, int64 [tokens]; undefined if none is. */
function realTokens(x: Value, ctx: SequenceContext): Value | undefined {
  const real = x.rank === 3 ? realPositionsOf(x, ctx) : undefined;
  return real && x.graph.ops.reshape(inOrder(ops.unsqueeze(ops.cast(real, 'int64'), [2])), [mulDims(x.dims[1]!, x.dims[0]!)]);
}

/** Gumbel noise: the largest of logits plus noise is a sample of their softmax. */
function gumbel(logits: Value): Value {
  const { log, neg } = logits.graph.ops;
  return neg(log(neg(log(logits.graph.root.draw('gumbel', logits.dims, 'uniform')))));
}

// ---- Capacity ---------------------------------------------------------------------------------------------------------

/** A number as a fraction of integers, if it is one of thousandths. */
function fraction(x: number): readonly [over: number, under: number] | undefined {
  for (let under = 1; under <= 1000; under++) {
    const over = Math.round(x * under);
    if (Math.abs(over / under - x) < 1e-12 * x) return [over, under];
  }
  return undefined;
}

/** ⌈times · tokens / experts⌉ */
function share(tokens: Dim, times: number, experts: number): Dim {
  const [over, under] = fraction(times)!;
  return ceilDivDims(mulDims(over, tokens), under * experts);
}
/** The same for a number of tokens that is known only in a run. */
function shareOf(tokens: Value, times: number, experts: number): Value {
  const [over, under] = fraction(times)!;
  const by = under * experts;
  const { add, div, mul } = tokens.graph.ops;
  return div(add(mul(tokens, over), by - 1), by);
}
