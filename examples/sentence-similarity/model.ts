// The Universal Sentence Encoder (lite) from blocks of onnxformers. What it computes, line by line: `weights.ts`.
import { layerNorm, mlp, multiHead, preNorm, relu } from 'onnxformers';
import {
  add, cast, compile, concat, cos, createRunner, div, domainOf, embedding, type Graph, init, iota, less, linear, max, type Model, type ModelDType, module, mul, nameOf, type Node, type Ort, Parameter, reduceSum,
  reshape, type SequenceContext, sin, sqrt, type Target, tanh, targets, type Tensor, unsqueeze, type Value,
} from '@onnxformers/core';
import type { BuildEncoder, TargetName } from './encoder';
import type { Picture } from './picture';
import { sizes } from './weights';

const { widths, heads, hidden, epsilon } = sizes;

/** The network as a module: ids int64 [batch, seq] and lengths int64 [batch] → vectors float32 [batch, 512]. */
export function sentenceEncoder() {
  const table = embedding(sizes.vocabulary, widths[0]);
  // Angles up to 127 radians need all the digits of float32, whatever the model computes in.
  const frequencies = new Parameter([widths[0] / 2], init.ones, { role: 'position', dtype: 'float32', trainable: false });
  const position = module({ frequencies }, (x: Value, ctx: SequenceContext): Value => {
    const angles = mul(unsqueeze(cast(ctx.positions, 'float32'), [2]), frequencies);
    return add(x, cast(concat([sin(angles), cos(angles)], 2), x.dtype));
  });
  const layers = [0, 1].map((i) => {
    const [dim, outDim] = [widths[i]!, widths[i + 1]!];
    return preNorm({
      dim,
      shortcutBias: true,
      mixer: multiHead({ dim, heads, outDim, fused: true }),
      feedforward: mlp({ dim: outDim, hidden, activation: relu({}) }),
      norm: (place) => layerNorm({ dim: place === 0 ? dim : outDim, eps: epsilon }),
    });
  });
  const dense = linear(widths[2], sizes.output);
  return module({ embedding: table, position, layers, dense }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    const lengths = inputs.lengths!;
    const e = table(inputs.ids!);
    const rows = layers.reduce((x, layer) => layer(x, ctx), position(add(e, e), ctx));
    const t = cast(tanh(dense(meanOfReal(rows, lengths))), 'float32');
    return { vectors: div(t, sqrt(max(reduceSum(mul(t, t), [1]), 1e-12))) };
  });
}

// [batch, seq, dim] → [batch, dim]; a sentence without tokens has the mean 0.
function meanOfReal(rows: Value, lengths: Value): Value {
  const seq = rows.dims[1]!;
  const real = cast(less(reshape(iota(rows.graph, seq), [1, seq]), unsqueeze(lengths, [1])), rows.dtype);
  const sum = reduceSum(mul(rows, unsqueeze(real, [2])), [1], { keepDims: false });
  return div(sum, cast(unsqueeze(max(lengths, 1), [1]), rows.dtype));
}

/** Compiles the network with weights; see `readWeights`. */
export function compileEncoder(weights: ReadonlyMap<string, Tensor>, target: Target, dtype: ModelDType, taps: readonly string[] = []): Model {
  const inputs = { ids: ['int64', ['batch', 'seq']], lengths: ['int64', ['batch']] } as const;
  return compile(sentenceEncoder(), { target, dtype, inputs, weights, taps });
}

const targetOf = (name: TargetName): Target => (name === 'portable' ? targets.portable() : targets[name]);

// WASM is a build of its own; everything else comes with onnxruntime-node.
async function runtimeFor(target: TargetName): Promise<{ ort: Ort; name: string }> {
  if (target === 'wasm') {
    const ort = await import('onnxruntime-web');
    return { ort: ort as unknown as Ort, name: `onnxruntime-web ${ort.env.versions.web}, WASM` };
  }
  const ort = await import('onnxruntime-node');
  return { ort: ort as unknown as Ort, name: `onnxruntime-node ${ort.env.versions.node}, ${target === 'portable' ? 'CPU' : target.toUpperCase()}` };
}

export const buildEncoder: BuildEncoder = async (weights, { target, dtype }) => {
  const model = compileEncoder(weights, targetOf(target), dtype);
  const { ort, name } = await runtimeFor(target);
  const run = await createRunner(model, ort);
  return {
    runtime: name,
    picture: pictureOf(model.graph),
    async encode({ ids, lengths }) {
      const { vectors } = await run({ ids, lengths });
      const [rows, width] = vectors!.dims as [number, number];
      return Array.from({ length: rows }, (_, i) => (vectors!.data as Float32Array).slice(i * width, (i + 1) * width));
    },
    dispose: () => run.dispose(),
  };
};

function pictureOf(graph: Graph): Picture {
  const names = new Map<Node, string>(graph.nodes.map((node, i) => [node, `n${i}`]));
  const sources = (node: Node): string[] => node.operands.flatMap((v) => (v?.producer && names.get(v.producer)) ?? (v?.leaf?.kind === 'input' ? [nameOf(v)!] : []));
  const label = (key: string): string => domainOf(key).filter(Boolean).join('.');
  return {
    inputs: graph.inputs.map((v) => nameOf(v)!),
    nodes: graph.nodes.map((node) => ({ name: names.get(node)!, op: label(node.op.key), path: node.scope, inputs: sources(node) })),
    outputs: Object.fromEntries(graph.outputs.map(({ name, value }) => [name, names.get(value.producer!)!])),
  };
}
