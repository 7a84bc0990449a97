// Who follows the advice of `explain` gets what it promises: a faster kernel in the forecast, or no tensor over all pairs of positions.
import { describe, expect, it } from 'vitest';
import { type AnyModule, compile, explain, type Target, targets, zoo } from './index';

interface Situation {
  readonly mixer?: object;
  readonly stack?: object;
  readonly options?: object;
}

const encoder = ({ mixer = {}, stack = {} }: Situation): AnyModule =>
  zoo.parse('model', {
    name: 'encoder',
    dim: 96,
    seqLen: 4096,
    embedding: { name: 'token', vocabSize: 23 },
    stack: {
      name: 'stack',
      depth: 1,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 6, ...mixer }, feedforward: 'mlp' },
      ...stack,
    },
  }) as unknown as AnyModule;
const ids = ['int64', ['batch', 'seq']] as const;
const lengths = ['int64', ['batch']] as const;
const attention_mask = ids;
const attention_bias = ['float32', [1, 6, 'seq', 'seq']] as const;
const packed = { layout: 'packed', inputs: { ids: ['int64', ['tokens']], lengths } };
const scaled = (o: object) => ({ attention: { name: 'scaled_dot_product', ...o } });
const causal = scaled({ causal: true });

const machines = {
  hopper: { machine: { sm: 90, cudnn: '9.14' }, dtype: 'float16' },
  ampere: { machine: { sm: 80, cudnn: '9.14' }, dtype: 'float16' },
} as const;

// From the slowest to the fastest.
const ranks = ['MATH', 'EFFICIENT_ATTENTION', 'TRT_FLASH_ATTENTION', 'FLASH_ATTENTION', 'CUDNN_FLASH_ATTENTION'];

function told(target: Target, { options = {}, ...model }: Situation, on: object) {
  const compiled = compile(encoder(model), { target, inputs: { ids }, ...on, ...options } as never);
  const ops = explain(compiled).blocks.flatMap((b) => b.ops.filter(({ op }) => op === 'Attend'));
  return {
    hints: ops.flatMap((o) => o.hints.map(({ code }) => code)),
    /** Attention that keeps all scores in primitives. */
    decomposed: ops.some((o) => o.chosen === 'decomposed'),
    /** Masks that became tensors; chunks have small ones. */
    pairs: ops.filter((o) => o.notes.some(({ code }) => code === 'maskOverScores')).length,
    slowest: Math.min(...ops.flatMap((o) => o.runs.map(({ kernel }) => ranks.indexOf(kernel)))),
  };
}

describe.each<readonly [code: string, Target, on: object, before: Situation, after: Situation]>([
  [
    'lengthsInstead',
    targets.cpu,
    {},
    { options: { inputs: { ids, attention_mask } } },
    { options: { inputs: { ids, lengths } } },
  ],
  [
    'lengthsInstead',
    targets.cuda,
    machines.hopper,
    { options: { inputs: { ids, attention_mask } } },
    { options: { inputs: { ids, lengths } } },
  ],
  ['lengthsInstead', targets.cuda, machines.ampere, { options: { inputs: { ids, attention_mask } } }, { options: packed }],
  ['equalLengths', targets.webgpu, {}, { options: { inputs: { ids, attention_mask } } }, {}],
  ['equalLengths', targets.webgpu, {}, { options: { inputs: { ids, lengths } } }, {}],
  ['equalLengths', targets.webgpu, {}, { options: packed }, {}],
  ['causalAlone', targets.webgpu, {}, { mixer: causal, options: { inputs: { ids, lengths } } }, { mixer: causal }],
  ['causalAlone', targets.cuda, machines.ampere, { mixer: causal, options: { inputs: { ids, lengths } } }, { mixer: causal }],
  ['causalAlone', targets.cpu, {}, { mixer: causal, options: { inputs: { ids, attention_mask } } }, { mixer: causal }],
  [
    'noBias',
    targets.cuda,
    machines.ampere,
    { options: { inputs: { ids, attention_bias } } },
    { mixer: { rotaryEmbedding: 'rotary' } },
  ],
  [
    'noBias',
    targets.cuda,
    machines.ampere,
    { options: { inputs: { ids: ['int64', ['batch', 4096]], attention_bias: ['float32', [1, 6, 4096, 4096]] } } },
    { mixer: { rotaryEmbedding: 'rotary' }, options: { inputs: { ids: ['int64', ['batch', 4096]] } } },
  ],
  [
    'noBias',
    targets.cuda,
    machines.ampere,
    { mixer: { kvHeads: 2 }, options: { inputs: { ids, attention_bias } } },
    { mixer: { kvHeads: 2, rotaryEmbedding: 'rotary' } },
  ],
  ['headDim', targets.cuda, machines.hopper, { mixer: { headDim: 20 } }, { mixer: { headDim: 24 } }],
  ['halfPrecision', targets.cuda, { ...machines.ampere, dtype: 'float32' }, {}, { options: { dtype: 'float16' } }],
  [
    'halfPrecision',
    targets.cuda,
    { ...machines.hopper, dtype: 'float32' },
    { mixer: { kvHeads: 2 } },
    { mixer: { kvHeads: 2 }, options: { dtype: 'bfloat16' } },
  ],
  ['withoutFeature', targets.webgpu, {}, { mixer: scaled({ softcap: 30 }) }, {}],
  [
    'packedSparesTensor',
    targets.cuda,
    machines.hopper,
    { mixer: scaled({ softcap: 30 }), options: { inputs: { ids, lengths } } },
    { mixer: scaled({ softcap: 30 }), options: packed },
  ],
  [
    'alignedLength',
    targets.cuda,
    machines.ampere,
    { options: { inputs: { ids: ['int64', ['batch', 511]], attention_bias: ['float32', [1, 1, 511, 511]] } } },
    { options: { inputs: { ids: ['int64', ['batch', 512]], attention_bias: ['float32', [1, 1, 512, 512]] } } },
  ],
])('%s', (code, target, on, before, after) => {
  it(`on ${target.name}`, () => {
    const [given, followed] = [told(target, before, on), told(target, after, on)];
    expect(given.hints).toContain(code);
    expect(followed.hints).not.toContain(code);
    const better = followed.slowest > given.slowest || followed.pairs < given.pairs || (given.decomposed && !followed.decomposed);
    expect({ given, followed, better }).toMatchObject({ better: true });
  });
});
