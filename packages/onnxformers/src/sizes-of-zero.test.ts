// No sequences, no queries, no keys: everything that mixes positions, and the embeddings with their convolutions, against the interpreter.
import { targets } from '@onnxformers/core';
import { sizesOfZero } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { zoo } from './index';

web.env.wasm.numThreads = 1;
const session = { intraOpNumThreads: 1, logSeverityLevel: 4 };

sizesOfZero(
  zoo.blocks.filter(({ kind }) => ['attention', 'mixer', 'embedding'].includes(kind)),
  {
    describe,
    it,
    registry: zoo,
    targets: [
      { target: targets.portable(21), ort, session },
      { target: targets.cpu, ort, session, gradients: true },
      { target: targets.wasm, ort: web },
    ],
    snapshot: (refused) => expect(refused).toMatchSnapshot(),
  },
);
