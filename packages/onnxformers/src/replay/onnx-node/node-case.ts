// A folder of ONNX node cases: each a model of one node, its inputs and its expected outputs.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, FileError, type OnnxNode, readOnnx, readTensor, type Tensor } from '@onnxformers/core';

/** One case: a node and the tensors of one data set. */
export interface NodeCase {
  readonly id: string;
  readonly node: OnnxNode;
  /** Version of the node's domain. */
  readonly opset: number;
  /** By the names in the model; an optional input that is absent is missing. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<string, Tensor>;
}

/** A case; or why it is skipped, or the error of a damaged one. */
export type ReadCase =
  | NodeCase
  | { readonly id: string; readonly unreadable: string }
  | { readonly id: string; readonly damaged: string };

const dataSet = 'test_data_set_0';

/** Throws   FileError when the folder cannot be read or contains no case */
export async function readNodeCases(folder: string): Promise<readonly ReadCase[]> {
  const names = await entries(folder);
  const cases: ReadCase[] = [];
  for (const id of names) {
    const inside = await entries(join(folder, id)).catch((): readonly string[] => []);
    if (inside.includes('model.onnx')) cases.push(await readCase(join(folder, id), id));
    else if (inside.includes(dataSet)) cases.push({ id, damaged: 'no model.onnx' });
  }
  if (!cases.length)
    throw new FileError({ path: folder, problem: 'the folder contains no case', expected: 'folders with model.onnx' });
  return cases;
}

async function readCase(folder: string, id: string): Promise<ReadCase> {
  try {
    const model = readOnnx(await readFile(join(folder, 'model.onnx')), id);
    const { nodes, inputs, outputs } = model.graph;
    const [node] = nodes;
    if (!node || nodes.length !== 1) return { id, unreadable: `${nodes.length} nodes instead of one` };
    const data = join(folder, dataSet);
    const files = new Set(await entries(data));
    const recorded = await tensors(
      data,
      files,
      'output',
      outputs.map(({ name }) => name),
    );
    const lacking = outputs.findIndex(({ name }) => !recorded.has(name));
    if (lacking >= 0) return { id, damaged: `no ${dataSet}/output_${lacking}.pb` };
    return {
      id,
      node,
      opset: model.opsets[node.domain] ?? 1,
      inputs: await tensors(
        data,
        files,
        'input',
        inputs.map(({ name }) => name),
      ),
      outputs: recorded,
    };
  } catch (error) {
    return { id, damaged: error instanceof Error ? error.message : String(error) };
  }
}

async function tensors(
  folder: string,
  files: ReadonlySet<string>,
  what: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, Tensor>> {
  const found = new Map<string, Tensor>();
  for (const [i, name] of names.entries()) {
    const file = `${what}_${i}.pb`;
    const bytes = files.has(file) ? await readFile(join(folder, file)) : new Uint8Array();
    if (bytes.length) found.set(name, readTensor(bytes, `${folder}/${file}`));
  }
  return found;
}

async function entries(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (cause) {
    throw new FileError(
      { path: folder, problem: 'cannot be read', got: cause instanceof Error ? cause.message : describe(cause) },
      { cause },
    );
  }
}
