// The compiled encoder in a runtime.
import { createRunner, type Ort, pictureOf, type Target, targets } from 'onnxformers';
import type { BuildEncoder, TargetName } from './encoder';
import { compileEncoder } from './model';

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

export const buildEncoder: BuildEncoder = async (weights, { target, dtype, onProgress }) => {
  const reported = onProgress && { onProgress };
  const model = compileEncoder(weights, targetOf(target), dtype, reported);
  const { ort, name } = await runtimeFor(target);
  const run = await createRunner(model, ort, reported);
  return {
    computes: model.computes,
    runtime: name,
    picture: pictureOf(model),
    async encode({ ids, lengths }) {
      const { vectors } = await run({ ids, lengths });
      const [rows, width] = vectors!.dims as [number, number];
      return Array.from({ length: rows }, (_, i) => (vectors!.data as Float32Array).slice(i * width, (i + 1) * width));
    },
    dispose: () => run.dispose(),
  };
};
