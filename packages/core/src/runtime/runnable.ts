// A model in the form that runners require.

import { checkArguments } from '../arguments';
import type { Model, Signature } from '../compile/compile';
import { serialize } from '../compile/serialize';
import type { Assumption } from '../ir/assumption';
import type { RuntimeSupport } from '../lower/runtime-version';
import { toMemory } from '../onnx/encode';
import { allNodes, blockPathKey, type OnnxModel } from '../onnx/model';
import type { OnProgress } from '../progress';
import type { NodeInfo } from './run-error';

/** External data of a model: its bytes, or the path of a file. */
export interface ExternalFile {
  /** Its path in the model. */
  readonly path: string;
  readonly data: Uint8Array | string;
}

/** What a runner requires of a model, in memory or loaded from a folder. */
export interface Runnable<I extends string = string, O extends string = string> {
  /** For the type checker only: the names of inputs and outputs, where they are known. */
  readonly portNames?: { readonly inputs: I; readonly outputs: O };
  readonly signature: Signature;
  /** Execution providers, in order of preference. */
  readonly providers: readonly string[];
  /** Path of a file, or the model's bytes. */
  readonly file: string | Uint8Array;
  /** External data that the runtime does not find by itself. */
  readonly external?: readonly ExternalFile[];
  readonly nodes: ReadonlyMap<string, NodeInfo>;
  readonly assumptions: readonly Assumption[];
  /** Which versions of the runtime can run it on its own providers. */
  readonly runtimes: readonly RuntimeSupport[];
}

/** A model for a runner, serialised in memory. Weights stay in separate arrays, so that their sum has no limit. */
export async function inMemory(model: Model, onProgress?: OnProgress): Promise<Runnable> {
  checkArguments('inMemory', { model });
  const onnx = serialize(model);
  const { model: file, externalData: external } = await toMemory(onnx, onProgress && { onProgress });
  return {
    signature: model.signature,
    providers: model.target.providers,
    file,
    external,
    nodes: nodeInfo(onnx),
    assumptions: model.assumptions,
    runtimes: model.runtimes,
  };
}

/** The nodes of a model by name. */
export function nodeInfo(onnx: OnnxModel): ReadonlyMap<string, NodeInfo> {
  const nodes = new Map<string, NodeInfo>();
  for (const { name, opType, metadata } of allNodes(onnx.graph))
    nodes.set(name, { path: metadata?.[blockPathKey] ?? '', op: opType, rules: metadata?.['onnxformers.rules'] ?? '' });
  return nodes;
}
