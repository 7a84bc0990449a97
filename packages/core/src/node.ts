// Exports that require Node.js: subpath @onnxformers/core/node.

export { saveBytes, saveText } from './disk/write-text';
export { inspectFile } from './onnx/inspect-file';
export { type SaveOnnxOptions, saveOnnx } from './onnx/save';
export { serveThread } from './runtime/serve-thread';
export { createWorkerRunner, type WorkerRunnerOptions } from './runtime/worker';
export { type LoadedModel, load, type SaveOptions, save } from './saved/folder';
export type { SavedModel } from './saved/saved-model';
export { fileSource, openWeights, type SaveSafetensorsOptions, saveSafetensors } from './weights/file-source';
