// What needs Node: subpath @onnxformers/core/node.
export { fileSource, openWeights, type SaveSafetensorsOptions, saveSafetensors } from './weights/file-source';
export { load, type LoadedModel, save, type SaveOptions } from './folder';
