// Experts without capacity, of which each token uses a few. Jiang et al. 2024, https://arxiv.org/abs/2401.04088
import {
  addAuxiliaryLoss,
  bool,
  ConfigError,
  choice,
  type Dim,
  defineBlock,
  init,
  int,
  linear,
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
import { type ActivationName, activations, type ExpertMaps, experts as mix } from './experts';
import { useByExpert } from './kernels/by-expert';
import { useFastGelu } from './kernels/fast-gelu';
import { useGelu } from './kernels/gelu';
import { useMoE } from './kernels/moe';
import { useQuickGelu } from './kernels/quick-gelu';
import { topKBalanceLoss, topKWeights } from './top-k-routing';

/**
 * Experts, of which each token uses the `topK` with the largest scores, without a capacity: no token is dropped, and none depends on others. The
 * mixtures of Mixtral, Qwen3, OLMoE, gpt-oss and DeepSeek-V3 are configs of it.
 *
 *     s = softmax(W_r x + b_r) or sigmoid(W_r x + b_r)
 *     C = the topK experts with the largest s + c, of the topGroups groups with the largest sums of two         c: correctionBias
 *     w_e = scale · s_e / Σ_C s for e in C, without normalize scale · s_e
 *     y = Σ_C w_e · W_down,e (f(W_gate,e x) ⊙ (W_up,e x + upOffset)) + shared(x)      without gated W_down,e f(W_up,e x)
 *
 * With `limit`, W_gate x is at most limit and W_up x lies between −limit and limit (gpt-oss: limit 7, upOffset 1, quick_gelu). With `sharedGate` the result of
 * the shared expert is multiplied by sigmoid(W_s x) (Qwen3-Next). The auxiliary loss of the model contains experts · Σ over experts of (share of the
 * tokens that use it · mean of its share of s); see `auxiliaryLoss`.
 *
 * Shapes   x [..., dim] → the same
 * Dtypes   float32, float16, bfloat16; router and weights in float32
 * Masks    all kinds
 * Cost     O(tokens · topK · dim · hidden) on portable, cpu and wasm, where each expert computes its tokens, and in the kernel MoE (on cuda in float32; gates with
 *          silu or quick_gelu, or relu without gates); otherwise, and in training, O(tokens · experts · dim · hidden): there each expert would wait for the device
 * Throws   ConfigError for more topK than experts, groups that do not divide them or have too few, sharedGate without shared, and limit or upOffset
 *          without gates
 * Source   Jiang et al. 2024, https://arxiv.org/abs/2401.04088; correction, groups and shared experts: DeepSeek-AI 2024,
 *          https://arxiv.org/abs/2412.19437; limit and upOffset: OpenAI 2025, https://arxiv.org/abs/2508.10925
 * Lowers   portable: MatMul, TopK, Slice, Softmax, Gelu · cpu, wasm: MatMul, TopK, Slice, QuickGelu, Gelu · webgpu: MatMul, QuickGelu, Gelu · cuda: MoE in
 *          float32, QuickGelu, Gelu
 * Example  const block = sparseMoe({ dim: 512, hidden: 1024, experts: 8, topK: 2 });
 */
export const sparseMoe = defineBlock({
  kind: 'feedforward',
  name: 'sparse_moe',
  summary: 'Experts without capacity, of which each token uses a few.',
  source: 'Jiang et al. 2024, https://arxiv.org/abs/2401.04088',
  masks: 'all',
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
    experts: int({ doc: 'number of experts', min: 1, max: 2048 }),
    /** experts of each token. Default: computed from other options. */
    topK: int({ doc: 'experts of each token', min: 1, default: (c: { experts: number }) => Math.min(2, c.experts) }),
    /** the function that makes scores of the router's logits. Default: `"softmax"`. */
    scores: choice(['softmax', 'sigmoid'], { doc: "the function that makes scores of the router's logits", default: 'softmax' }),
    /** the weights of the experts of a token are divided by their sum. Default: `true`. */
    normalize: bool({ doc: 'the weights of the experts of a token are divided by their sum', default: true }),
    /** factor of the weights (routed_scaling_factor). Default: `1`. */
    scale: num({ doc: 'factor of the weights (routed_scaling_factor)', above: 0, default: 1 }),
    /** the router has a bias. Default: `false`. */
    routerBias: bool({ doc: 'the router has a bias', default: false }),
    /** the choice of experts, and not their weights, depends on a stored correction of the scores. Default: `false`. */
    correctionBias: bool({
      doc: 'the choice of experts, and not their weights, depends on a stored correction of the scores',
      default: false,
    }),
    /** groups of consecutive experts. Default: `1`. */
    groups: int({ doc: 'groups of consecutive experts', min: 1, default: 1 }),
    /** groups that a token may use. Default: computed from other options. */
    topGroups: int({ doc: 'groups that a token may use', min: 1, default: (c: { groups: number }) => c.groups }),
    /** the hidden channels are multiplied by gates. Default: `true`. */
    gated: bool({ doc: 'the hidden channels are multiplied by gates', default: true }),
    /** activation of the gates, or of the hidden channels without gates. Default: `"silu"`. */
    activation: choice(activations, {
      doc: 'activation of the gates, or of the hidden channels without gates',
      default: 'silu',
    }),
    /** the linear maps of the experts have a bias. Default: `false`. */
    bias: bool({ doc: 'the linear maps of the experts have a bias', default: false }),
    /** bound of the gates and of what they multiply; absent: none. Optional. */
    limit: num({ doc: 'bound of the gates and of what they multiply; absent: none', above: 0, optional: true }),
    /** added to the hidden channels that the gates multiply. Default: `0`. */
    upOffset: num({ doc: 'added to the hidden channels that the gates multiply', default: 0 }),
    /** a feed-forward that every token uses. Optional. */
    shared: slot('feedforward', { doc: 'a feed-forward that every token uses', optional: true }),
    /** the result of the shared feed-forward is multiplied by a learned gate. Default: `false`. */
    sharedGate: bool({ doc: 'the result of the shared feed-forward is multiplied by a learned gate', default: false }),
  },
  examples: [
    { dim: 7, experts: 3, hidden: 11 },
    {
      dim: 5,
      experts: 5,
      hidden: 7,
      topK: 3,
      normalize: false,
      shared: { name: 'glu', hidden: 3, bias: false },
      sharedGate: true,
    },
    {
      dim: 5,
      experts: 6,
      hidden: 7,
      topK: 3,
      scores: 'sigmoid',
      correctionBias: true,
      groups: 3,
      topGroups: 2,
      scale: 2.5,
      shared: 'glu',
    },
    {
      dim: 5,
      experts: 4,
      hidden: 3,
      routerBias: true,
      bias: true,
      activation: 'quick_gelu',
      limit: 7,
      upOffset: 1,
    },
    { dim: 7, experts: 3, hidden: 5, topK: 1, gated: false, activation: 'gelu', bias: true },
    { dim: 16, experts: 3, hidden: 24 },
  ],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal', 'deterministic'],
  rules: [useMoE, useByExpert, useQuickGelu, useGelu, useFastGelu],
  create(c, { path }) {
    check(c, path);
    const { dim, experts, shared } = c;
    const weight = new Parameter([experts, dim], init.fanIn(), { role: 'router', part: 'weight', dtype: 'float32' });
    const bias = c.routerBias
      ? new Parameter([experts], init.fanIn(dim), { role: 'router', part: 'bias', dtype: 'float32' })
      : undefined;
    const correction = c.correctionBias
      ? new Parameter([experts], init.zeros, { role: 'router', part: 'other', dtype: 'float32', trainable: false })
      : undefined;
    const router = module({ weight, bias, correction }, (x: Value) => ops.linear(ops.cast(x, 'float32'), weight, bias));
    const all = Array.from({ length: experts }, () => expert(c));
    const shared_gate = c.sharedGate ? linear(dim, 1, { bias: false, role: 'router' }) : undefined;

    return module({ router, experts: all, shared, shared_gate }, (x: Value, ctx: SequenceContext) => {
      const count = x.dims.slice(0, -1).reduce<Dim>((n, d) => mulDims(n, d), 1);
      const rows = ops.reshape(x, [count, dim]);
      const routing = topKWeights(router(rows), correction && x.graph.root.param(correction), c);
      addAuxiliaryLoss(ctx, topKBalanceLoss(routing, c, realTokens(x, ctx, count)));
      const sum = mix(rows, routing.weights, mapsOf(x, all), {
        activation: c.activation as ActivationName,
        limit: c.limit ?? 0,
        offset: c.upOffset,
        chosen: c.topK,
      });
      const y = ops.reshape(sum, x.dims);
      if (!shared) return y;
      const also = shared(x, ctx);
      return ops.add(y, shared_gate ? ops.mul(also, ops.sigmoid(shared_gate(x))) : also);
    });
  },
});

interface Options {
  readonly dim: number;
  readonly hidden: number;
  readonly experts: number;
  readonly topK: number;
  readonly groups: number;
  readonly topGroups: number;
  readonly gated: boolean;
  readonly limit?: number | undefined;
  readonly upOffset: number;
  readonly bias: boolean;
  readonly shared?: unknown;
  readonly sharedGate: boolean;
}

function check({ experts, topK, groups, topGroups, gated, limit, upOffset, shared, sharedGate }: Options, path: string): void {
  const refuse = (field: string, problem: string, expected: string, got: unknown) => {
    throw new ConfigError({ path: `${path}.${field}`, problem, expected, got: String(got) });
  };
  if (experts % groups)
    refuse('groups', 'the experts cannot be divided into groups of equal size', `a divisor of ${experts}`, groups);
  if (topGroups > groups) refuse('topGroups', 'a token cannot use more groups than there are', `at most ${groups}`, topGroups);
  const available = (experts / groups) * topGroups;
  if (topK > available)
    refuse('topK', 'a token cannot use more experts than there are in its groups', `at most ${available}`, topK);
  if (sharedGate && !shared) refuse('sharedGate', 'there is no shared feed-forward', 'shared, or sharedGate: false', 'true');
  if (!gated && upOffset) refuse('upOffset', 'only gated experts have it', '0, or gated: true', upOffset);
  if (!gated && limit !== undefined) refuse('limit', 'only gated experts have it', 'none, or gated: true', limit);
}

// ---- Experts ----------------------------------------------------------------------------------------------------------

/** A linear map of one expert. */
interface Affine {
  readonly weight: Parameter;
  readonly bias: Parameter | undefined;
}

function expert({ dim, hidden, gated, bias }: Options) {
  const map = (from: number, to: number) => {
    const affine: Affine = {
      weight: new Parameter([to, from], init.fanIn(), { role: 'hidden', part: 'weight' }),
      bias: bias ? new Parameter([to], init.fanIn(from), { role: 'hidden', part: 'bias' }) : undefined,
    };
    return { ...affine };
  };
  return { gate_proj: gated ? map(dim, hidden) : undefined, up_proj: map(dim, hidden), down_proj: map(hidden, dim) } as const;
}

/** The linear maps of all experts, stacked once, when the model is written. */
function mapsOf(x: Value, all: readonly ReturnType<typeof expert>[]): ExpertMaps {
  const g = x.graph.root;
  const stacked = (map: 'gate_proj' | 'up_proj' | 'down_proj', part: 'weight' | 'bias'): Value | undefined => {
    const rows = all.flatMap((e) => e[map]?.[part] ?? []).map((p) => ops.unsqueeze(g.param(p), [0]));
    return rows.length ? ops.concat(rows, 0) : undefined;
  };
  return {
    gate: stacked('gate_proj', 'weight'),
    up: stacked('up_proj', 'weight')!,
    down: stacked('down_proj', 'weight')!,
    gateBias: stacked('gate_proj', 'bias'),
    upBias: stacked('up_proj', 'bias'),
    downBias: stacked('down_proj', 'bias'),
  };
}

/** 1 for the tokens that are not padding, float32 [tokens, 1]; undefined if none is. */
function realTokens(x: Value, ctx: SequenceContext, count: Dim): Value | undefined {
  const real = x.rank === 3 && !ctx.state ? realPositionsOf(x, ctx) : undefined;
  return real && ops.reshape(ops.cast(real, 'float32'), [count, 1]);
}
