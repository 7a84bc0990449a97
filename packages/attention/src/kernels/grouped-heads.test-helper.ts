// An attention of grouped heads alone, under a mask that is made of its inputs.
import { type AnyModule, type Mask, module, type Value } from '@onnxformers/core';
import { type AttendOpOptions, attendOp } from '@onnxformers/core/ops';
import { randomArray } from '@onnxformers/core/testing';

export type Given = Readonly<Record<string, Value>>;
export const [batch, heads, kvHeads, width] = [2, 6, 2, 8];
export const feeds = (seq: number, kvSeq = seq) => ({
  q: randomArray('q', [batch, heads, seq, width]),
  k: randomArray('k', [batch, kvHeads, kvSeq, width]),
  v: randomArray('v', [batch, kvHeads, kvSeq, width]),
});
export const attention = (
  mask: (inputs: Given) => Mask<Value>,
  options: (inputs: Given) => Partial<AttendOpOptions> = () => ({}),
) =>
  module({}, (inputs: Given) => ({
    y: attendOp(inputs.q!, inputs.k!, inputs.v!, { mask: mask(inputs), ...options(inputs) }),
  })) as AnyModule;
