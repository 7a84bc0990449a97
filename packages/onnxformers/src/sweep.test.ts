// Every field of every block at its edges, alone and together: SWEEP_CASES=200 tries more of each block, FAST_CHECK_SEED=7 others.
import { targets } from '@onnxformers/core';
import { sweep } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, it } from 'vitest';
import { zoo } from './index';

sweep(zoo.blocks, {
  describe,
  it,
  registry: zoo,
  others: zoo.blocks,
  seed: Number(process.env.FAST_CHECK_SEED ?? 1),
  cases: Number(process.env.SWEEP_CASES ?? 20),
  targets: [targets.portable(), targets.cuda, targets.webgpu],
  runs: { target: targets.cpu, ort },
});
