// Graphs of the probes as ONNX models.
import type { Model } from '../../packages/core/src/compile/compile';
import { serialize } from '../../packages/core/src/compile/serialize';
import { ShapeError } from '../../packages/core/src/error';
import type { Graph } from '../../packages/core/src/ir/graph';
import type { OnnxModel } from '../../packages/core/src/onnx/model';

/** The model, written for at least this opset; undefined where the size of an axis is not told by the graph alone. */
export function modelOf(graph: Graph, opset = 1): OnnxModel | undefined {
  const about = {
    target: { name: 'probe', opset: 26 },
    dtype: 'float32',
    parameterInputs: new Set(),
    names: { nameOf: new Map(), parameters: new Map() },
  };
  try {
    const model = serialize({ graph, ...about } as unknown as Model);
    return { ...model, opsets: { ...model.opsets, '': Math.max(opset, model.opsets['']!) } };
  } catch (error) {
    if (error instanceof ShapeError) return undefined;
    throw error;
  }
}
