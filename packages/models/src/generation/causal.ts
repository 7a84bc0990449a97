// A decoder with a growing cache.
import { compile, createRunner, type Runner } from '@onnxformers/core';
import type { Place } from '../place';
import type { Pretrained } from '../pretrained';

/** Compiles a decoder for generation: padded prompts, then one token a call. */
export async function causalRunner({ module, weights }: Pretrained, { ort, target, dtype }: Place): Promise<Runner> {
  const compiled = compile(module, {
    target,
    dtype,
    inputs: { ids: ['int64', ['batch', 'seq']], attention_mask: ['int64', ['batch', 'past + seq']] },
    weights,
    state: 'io',
    assumptions: ['prefill into empty cache'],
  });
  return createRunner(compiled, ort);
}
