// A residual layer on several copies of the hidden states, with learned connections. Zhu et al. 2024, https://arxiv.org/abs/2409.19606
import {
  bool,
  ConfigError,
  type Dim,
  defineBlock,
  each,
  init,
  int,
  module,
  Parameter,
  type SequenceContext,
  tensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { layerNorm } from './norms/layer-norm';
import { branch, branchFields, childrenOf, subLayerFields, subLayersOf } from './sub-layers';

/**
 * Hyper-connections: n copies H of the hidden states instead of one. Each sub-layer reads a learned combination of the copies, its result is added to each with a
 * learned factor, and the copies are mixed.
 *
 *     h = aᵀ H      H' = β f(norm(h))ᵀ + Mᵀ H      for each sub-layer f; H [n, dim]
 *     [a | M] = A + s_A tanh(layerNorm(H) W_A)      β = b + s_b tanh(layerNorm(H) w_b)      static: [a | M] = A, β = b
 *
 * At first W_A and w_b are 0, M is the identity, b is 1, and a selects one copy, another one in each sub-layer. Then each copy is the sum of the results so far,
 * as in `pre_norm`. `hyper_stack` makes the copies, runs such layers and adds the copies up.
 *
 * Shapes   x [..., seq, n · dim] → the same; f [..., seq, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and time O(seq · n² · dim), memory O(n · seq · dim)
 * Throws   ConfigError for a layer without sub-layers, and for a sub-layer that changes the number of channels
 * Source   Zhu et al. 2024, https://arxiv.org/abs/2409.19606
 * Lowers   everywhere: MatMul, LayerNormalization, Tanh, Add, Mul
 * Example  const block = zoo.build('layer', { name: 'hyper_connections', dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' });
 */
export const hyperConnections = defineBlock({
  kind: 'layer',
  name: 'hyper_connections',
  summary: 'A residual layer on several copies of the hidden states, with learned connections.',
  source: 'Zhu et al. 2024, https://arxiv.org/abs/2409.19606',
  fields: {
    /** channels of each copy. Inherited from the enclosing block. */
    dim: int({ doc: 'channels of each copy', unit: 'channels', min: 1, inherit: true }),
    /** copies of the hidden states. Inherited from the enclosing block. Default: `4`. */
    expansionRate: int({ doc: 'copies of the hidden states', min: 1, max: 64, inherit: true, default: 4 }),
    /** the connections depend on the hidden states. Default: `true`. */
    dynamic: bool({ doc: 'the connections depend on the hidden states', default: true }),
    /** probability that a sub-layer is left out in training, for a whole sequence (stochastic depth). Default: `0`. */
    stochasticDepth: branchFields.stochasticDepth,
    ...subLayerFields,
    /** norm before each sub-layer. Default: `layer_norm`. */
    norm: each('norm', { doc: 'norm before each sub-layer', default: layerNorm }),
  },
  inputs: ({ about: { config } }) => {
    const { dim, expansionRate } = config as { readonly dim: number; readonly expansionRate: number };
    return { x: { dtype: 'float32', dims: ['batch', 'seq', expansionRate * dim] } };
  },
  examples: [
    { dim: 12, expansionRate: 3, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    { dim: 10, expansionRate: 2, dynamic: false, feedforward: { name: 'glu', hidden: 7 }, norm: 'rms_norm' },
  ],
  create({ norm, expansionRate, dynamic, ...c }, { path, layer }) {
    const subLayers = subLayersOf(c, { scale: 1, branchScale: 1, before: norm }, path);
    const wider = subLayers.find(({ shortcut }) => shortcut);
    if (wider)
      throw new ConfigError({
        path: `${path}.${wider.place}`,
        problem: 'the result of a sub-layer is added to all copies',
        expected: `outDim ${c.dim}`,
        got: `outDim ${wider.block.about.config?.outDim}`,
      });
    const first = (layer ?? 0) * subLayers.length;
    const connections = subLayers.map((_, i) => connectionsOf(c.dim, expansionRate, (first + i) % expansionRate, dynamic));
    const sums = { scale: 1, branchScale: 1, stochasticDepth: c.stochasticDepth };
    const hyper_connections = Object.fromEntries(subLayers.map(({ place }, i) => [place, connections[i]]));
    return module({ ...childrenOf(subLayers), hyper_connections }, (x: Value, ctx: SequenceContext) => {
      const copies = ops.reshape(x, [...x.dims.slice(0, -1), expansionRate, c.dim]);
      const all = subLayers.reduce((h, s, i) => {
        const { read, kept, added } = connections[i]!(h);
        const y = branch(s.before!(read), ctx, s, sums);
        return ops.add(ops.mul(added, ops.unsqueeze(y, [y.rank - 1])), kept);
      }, copies);
      return ops.reshape(all, x.dims);
    });
  },
});

/** What a sub-layer reads, the copies that it adds to, and the factors of what it adds, which broadcast to them. */
interface Connected {
  readonly read: Value;
  readonly kept: Value;
  readonly added: Value;
}

function connectionsOf(dim: number, n: number, selected: number, dynamic: boolean) {
  const rows = Array.from({ length: n }, (_, i) => [i === selected ? 1 : 0, ...Array.from({ length: n }, (_, j) => +(i === j))]);
  const own = (dims: readonly number[], start: Parameter['init']) =>
    new Parameter(dims, start, { role: 'mechanism', part: 'other' });
  const fixed = {
    static_alpha: own([n, n + 1], init.values(tensor('float32', [n, n + 1], rows.flat()))),
    static_beta: own([n], init.ones),
  };
  const moving = dynamic
    ? {
        layer_norm: layerNorm({ dim }),
        dynamic_alpha_fn: own([dim, n + 1], init.zeros),
        dynamic_alpha_scale: own([1], init.constant(0.01)),
        dynamic_beta_fn: own([dim, 1], init.zeros),
        dynamic_beta_scale: own([1], init.constant(0.01)),
      }
    : undefined;
  return module({ ...fixed, ...moving }, (h: Value): Connected => {
    const g = h.graph.root;
    const last = h.rank - 1;
    const normed = moving?.layer_norm(h);
    const moved = (base: Value, fn: Parameter, scale: Parameter): Value =>
      ops.add(base, ops.mul(ops.tanh(ops.matmul(normed!, g.param(fn))), g.param(scale)));
    const alpha = g.param(fixed.static_alpha);
    const beta = ops.unsqueeze(g.param(fixed.static_beta), [1]);
    const mix = moving ? moved(alpha, moving.dynamic_alpha_fn, moving.dynamic_alpha_scale) : alpha;
    const mixed = ops.matmul(ops.swapLast(mix), h);
    const lead = h.dims.slice(0, -2) as readonly Dim[];
    return {
      read: ops.reshape(ops.slice(mixed, { axes: [last - 1], starts: [0], ends: [1] }), [...lead, dim]),
      kept: ops.slice(mixed, { axes: [last - 1], starts: [1], ends: [n + 1] }),
      added: moving ? moved(beta, moving.dynamic_beta_fn, moving.dynamic_beta_scale) : beta,
    };
  });
}
