// A graph of the size and shape of the compiled encoder, to be drawn.
import type { Picture, PictureNode } from 'onnxformers';

const ms = 'com.microsoft';

function layerNodes(layer: number, input: string): PictureNode[] {
  const path = `layers.${layer}`;
  const node = (op: string, at: string, ...inputs: string[]): PictureNode => ({ name: `${at}/${op}`, op, path: at, inputs });
  const norm1 = node('LayerNormalization', `${path}.norm1`, input);
  const qkv = node('Gemm', `${path}.mixer.qkv_proj`, norm1.name);
  const attention = node(`${ms}.MultiHeadAttention`, `${path}.mixer`, qkv.name, 'lengths');
  const out = node('Gemm', `${path}.mixer.o_proj`, attention.name);
  const shortcut = layer === 0 ? [node('Gemm', `${path}.shortcut`, input)] : [];
  const norm2 = node(`${ms}.SkipLayerNormalization`, `${path}.norm2`, out.name, shortcut[0]?.name ?? input);
  const up = node('Gemm', `${path}.feedforward.up`, norm2.name);
  const relu = node('Relu', `${path}.feedforward.activation`, up.name);
  const down = node('Gemm', `${path}.feedforward.down`, relu.name);
  const sum = node('Add', path, down.name, norm2.name);
  return [norm1, qkv, attention, out, ...shortcut, norm2, up, relu, down, sum];
}

/** A graph of the size and shape of the real one. */
export function examplePicture(): Picture {
  const node = (op: string, path: string, ...inputs: string[]): PictureNode => ({ name: `${path}/${op}`, op, path, inputs });
  const first = layerNodes(0, 'position/Add');
  const second = layerNodes(1, first.at(-1)!.name);
  return {
    inputs: ['ids', 'lengths'],
    nodes: [
      node('Gather', 'embedding', 'ids'),
      node('Sin', 'position', 'ids'),
      node('Cos', 'position', 'ids'),
      node('Concat', 'position', 'position/Sin', 'position/Cos'),
      node('Add', 'position', 'embedding/Gather', 'position/Concat'),
      ...first,
      ...second,
      node('ReduceSum', 'pooling', second.at(-1)!.name, 'lengths'),
      node('Div', 'pooling', 'pooling/ReduceSum', 'lengths'),
      node('Gemm', 'dense', 'pooling/Div'),
      node('Tanh', 'dense', 'dense/Gemm'),
      node('LpNormalization', '', 'dense/Tanh'),
    ],
    outputs: { vectors: '/LpNormalization' },
  };
}
