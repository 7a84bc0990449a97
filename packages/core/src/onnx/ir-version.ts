// Which version of the file format a model needs.
import type { DType } from '../tensor/tensor';
import { allNodes, type OnnxGraph, type OnnxModel } from './model';

// First opset of the standard that was released with an IR version, newest first: https://onnx.ai/onnx/repo-docs/Versioning.html
const opsetsOfIrVersions = [
  [25, 13],
  [24, 12],
  [23, 11],
  [21, 10],
  [19, 9],
  [15, 8],
  [12, 7],
  [11, 6],
  [10, 5],
] as const;
/** Before version 4 every initializer had to be an input too. */
const lowest = 4;
/** The first version whose nodes have metadata. */
export const firstIrVersionWithMetadata = 10;

/** The name of a domain in the file: the standard's is ''. */
export const canonicalDomain = (domain: string): string => (domain === 'ai.onnx' ? '' : domain);

// bfloat16 was added in version 4, so only 4-bit integers require more than the lowest version.
const needs = (dtype: DType): number => (dtype === 'int4' || dtype === 'uint4' ? 10 : lowest);

function* dtypesOf(graph: OnnxGraph): Generator<DType> {
  for (const { dtype } of [...graph.inputs, ...graph.outputs, ...(graph.values ?? []), ...graph.initializers]) yield dtype;
}

/**
 * The lowest IR version that a model needs: that of the ONNX release which brought its opset of the standard, and that of its
 * dtypes (4-bit integers: 10). Metadata of nodes does not raise it, see {@link OnnxNode}.
 */
export function requiredIrVersion({ opsets, graph }: OnnxModel): number {
  const opset = Math.max(0, ...Object.entries(opsets).map(([domain, version]) => (canonicalDomain(domain) === '' ? version : 0)));
  let version: number = opsetsOfIrVersions.find(([first]) => opset >= first)?.[1] ?? lowest;
  const raise = (dtype: DType): void => {
    version = Math.max(version, needs(dtype));
  };
  for (const dtype of dtypesOf(graph)) raise(dtype);
  for (const { attributes } of allNodes(graph)) {
    for (const attribute of Object.values(attributes)) {
      if (attribute.type === 'tensor') raise(attribute.value.dtype);
      if (attribute.type === 'graph') for (const dtype of dtypesOf(attribute.value)) raise(dtype);
    }
  }
  return version;
}
