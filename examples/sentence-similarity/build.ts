// The compiled encoder in a runtime.
import { createRunner, type Graph, type Node, type Ort, type Target, targets } from '@onnxformers/core';
import { domainOf, nameOf } from '@onnxformers/core/lowering';
import type { BuildEncoder, TargetName } from './encoder';
import { compileEncoder } from './model';
import type { Picture } from './picture';

const targetOf = (name: TargetName): Target => (name === 'portable' ? targets.portable() : targets[name]);

// WASM is a build of its own; everything else comes with onnxruntime-node.
async function runtimeFor(target: TargetName): Promise<{ ort: Ort; name: string }> {
  if (target === 'wasm') {
    const ort = await import('onnxruntime-web');
    return { ort: ort as unknown as Ort, name: `onnxruntime-web ${ort.env.versions.web}, WASM` };
  }
  const ort = await import('onnxruntime-node');
  return {
    ort: ort as unknown as Ort,
    name: `onnxruntime-node ${ort.env.versions.node}, ${target === 'portable' ? 'CPU' : target.toUpperCase()}`,
  };
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

// Without what is made of weights alone when the model is written: turned and cut matrices.
function pictureOf(graph: Graph): Picture {
  const running = new Set<Node>();
  for (const node of graph.nodes)
    if (node.operands.some((v) => v?.leaf?.kind === 'input' || (v?.producer && running.has(v.producer)))) running.add(node);
  const nodes = [...running];
  const names = new Map<Node, string>(nodes.map((node, i) => [node, `n${i}`]));
  const sources = (node: Node): string[] =>
    node.operands.flatMap((v) => (v?.producer && names.get(v.producer)) ?? (v?.leaf?.kind === 'input' ? [nameOf(v)!] : []));
  const label = (key: string): string => domainOf(key).filter(Boolean).join('.');
  return {
    inputs: graph.inputs.map((v) => nameOf(v)!),
    nodes: nodes.map((node) => ({
      name: names.get(node)!,
      op: label(node.op.key),
      path: node.scope,
      inputs: sources(node),
    })),
    outputs: Object.fromEntries(graph.outputs.map(({ name, value }) => [name, names.get(value.producer!)!])),
  };
}
