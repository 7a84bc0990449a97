// onnxformers inspect FILE.onnx
import { join } from 'node:path';
import { printInspection } from '@onnxformers/core';
import { inspectFile } from '@onnxformers/core/node';
import { command } from '../command';
import { isFolder } from '../files';

export const inspect = command({
  name: 'inspect',
  words: ['FILE'],
  summary: 'Shows the ops, inputs, outputs and weights of an ONNX file or of a saved model.',
  options: {},
  async run([file], _, output) {
    output.progress(`reading ${file} …`);
    const found = await inspectFile((await isFolder(file!)) ? join(file!, 'model.onnx') : file!);
    output.result(() => printInspection(found), found);
  },
});
