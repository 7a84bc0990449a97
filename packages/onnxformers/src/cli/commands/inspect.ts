// onnxformers inspect FILE.onnx
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { printInspection } from '@onnxformers/core';
import { inspectFile } from '@onnxformers/core/node';
import { command } from '../command';

export const inspect = command({
  name: 'inspect',
  words: ['FILE'],
  summary: 'Says what is in an ONNX file, or in the folder of a saved model: ops, inputs, outputs, weights.',
  options: {},
  async run([file], _, output) {
    const folder = await stat(file!).then(
      (s) => s.isDirectory(),
      () => false,
    );
    const found = await inspectFile(folder ? join(file!, 'model.onnx') : file!);
    output.result(() => printInspection(found), found);
  },
});
