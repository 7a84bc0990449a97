// What needs Node: subpath @onnxformers/core/node.
export { fileSource, openWeights, type SaveSafetensorsOptions, saveSafetensors } from './weights/file-source';
