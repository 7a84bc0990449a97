// Where the CUDA provider places what we lower for it, and which attention kernel it runs, machine by machine.
//
// Asks the provider itself, over stand-ins for CUDA's libraries, so no GPU is needed. STUB_CUDA names their folder (lib, lib-cudnn and
// node_modules with an onnxruntime-node that has the provider); without it these tests are skipped.

import { namesOf } from '@onnxformers/core';
import { attentionKernel } from '@onnxformers/core/lowering';
import { describe, expect, it } from 'vitest';
import { attendCases, inputsOf, modelOf } from '../../../attention/src/kernels/attend-cases.test-helper';
import { kernels } from '../../../attention/src/kernels/index';
import {
  compile,
  type Dim,
  type DType,
  type Machine,
  type Model,
  type ModelDType,
  targets,
  tensor,
  type WeightSource,
  zoo,
} from '../index';
import { onStub, type StubMachine, stubFolder } from './stub.test-helper';

const why = 'STUB_CUDA is not set, so the CUDA provider cannot be asked what it does';
const target = targets.cuda;

// Weights of the right size; nothing is computed.
function zeros(module: Model['module'], dtype: DType): WeightSource {
  const parameters = [...namesOf(module).parameters];
  return new Map(
    parameters.map(([name, { dims }]) => [name, tensor(dtype, dims, new Float64Array(dims.reduce((n, d) => n * d, 1)))]),
  );
}

/** What may stand on the CPU: arithmetic on sizes. */
const onSizes = /^(Shape|Gather|Concat|Reshape|Squeeze|Unsqueeze|Slice|Range|Cast|Add|Sub|Mul|Div|Max|Min) /;

const machines: readonly (readonly [name: string, StubMachine, Machine])[] = [
  ['Blackwell', { sm: 120, cudnn: 91400 }, {}],
  ['Hopper', { sm: 90, cudnn: 91400 }, { sm: 90, cudnn: '9.14' }],
  ['Hopper with a cuDNN that attends wrongly', { sm: 90, cudnn: 91000 }, { sm: 90, cudnn: '9.10.0' }],
  ['Hopper without cuDNN', { sm: 90, cudnn: 'none' }, { sm: 90, cudnn: 'none' }],
  ['Ampere', { sm: 80, cudnn: 91400 }, { sm: 80 }],
  ['Turing', { sm: 75, cudnn: 91400 }, { sm: 75 }],
  ['Volta', { sm: 70, cudnn: 91400 }, { sm: 70 }],
];

describe.each(machines)('%s', (_, stub, machine) => {
  it.for(['float16', 'bfloat16', 'float32'] as const)('runs the kernels that are foretold, in %s', async (dtype, { skip }) => {
    if (!stubFolder) return skip(why);
    const all = attendCases.map((c) => {
      const module = modelOf(c);
      const inputs = inputsOf(c, dtype === 'bfloat16' ? 'float32' : dtype);
      const model = compile(module, {
        target,
        machine,
        rules: kernels,
        dtype,
        inputs,
        assumptions: ['prefill into empty cache'],
        weights: zeros(module, dtype),
      });
      return {
        name: c.name,
        model,
        sizes: { batch: 2, seq: c.cache ? 1 : 512, kv: 768, past: 43, capacity: 16, lengths: 300, pastLengths: 3 },
      };
    });
    // Sizes that a branch reads go through the GPU's memory, which stand-ins do not have.
    const jobs = all.filter(({ model }) => !model.graph.nodes.some((n) => n.op.key === 'If'));
    // Windows, for which it is decided at run time whether attention is computed in blocks.
    expect(all.filter((job) => !jobs.includes(job) && !job.name.includes('window'))).toEqual([]);
    const results = await onStub(stub, jobs);
    results.forEach((result, i) => {
      const { name } = jobs[i]!;
      const nodes = jobs[i]!.model.graph.nodes;
      const foretold = nodes.map((n) => attentionKernel(n, machine)).filter((k) => k !== undefined);
      expect(result.error, name).toBeUndefined();
      expect(result.kernels, name).toEqual(foretold.map((k) => k.kernel));
      expect(
        result.onCpu.filter((n) => !onSizes.test(n)),
        name,
      ).toEqual([]);
    });
  });
});

describe('models', () => {
  const stub = { sm: 90, cudnn: 91400 } as const;
  const machine = { sm: 90, cudnn: '9.14' } as const;
  const layers = (o: object) => ({
    name: 'pre_norm',
    mixer: { name: 'multi_head', heads: 4, ...o },
    feedforward: { name: 'mlp' },
  });
  const encoder = (depth: number, o: object = {}) =>
    zoo.build('model', {
      name: 'encoder',
      dim: 256,
      stack: { name: 'stack', depth, norm: 'layer_norm', layers: layers(o) },
    } as never);
  const compiled = (
    module: ReturnType<typeof encoder>,
    dtype: ModelDType,
    inputs: Record<string, readonly [DType, readonly Dim[]]>,
  ) => compile(module, { target, machine, dtype, inputs, weights: zeros(module, dtype) });

  it('an encoder of 24 layers has one attention kernel and two skip norms per layer, and no superfluous nodes', async ({
    skip,
  }) => {
    if (!stubFolder) return skip(why);
    const depth = 24;
    const model = compiled(encoder(depth), 'float16', { x: ['float16', ['batch', 'seq', 256]] });
    const [result] = await onStub(stub, [{ model, sizes: { batch: 2, seq: 512 } }]);
    const { ops, kernels: run, onCpu } = result!;
    expect(result!.error).toBeUndefined();
    // No bias of the projections is left.
    expect(ops).toEqual({
      LayerNormalization: 1,
      MatMul: 6 * depth,
      MultiHeadAttention: depth,
      SkipLayerNormalization: 2 * depth,
      BiasGelu: depth,
    });
    expect(run).toEqual(Array.from({ length: depth }, () => 'CUDNN_FLASH_ATTENTION'));
    expect(onCpu).toEqual([]);
  });

  it('packed sequences attend without padding, the biases on their way', async ({ skip }) => {
    if (!stubFolder) return skip(why);
    const module = encoder(2);
    const inputs = { x: ['float16', ['tokens', 256]], lengths: ['int64', ['sequences']] } as const;
    const model = compile(module, {
      target,
      machine,
      dtype: 'float16',
      layout: 'packed',
      inputs,
      weights: zeros(module, 'float16'),
    });
    const sizes = { tokens: 600, sequences: 2, longest_of_lengths: 300, lengths: 300 };
    const [result] = await onStub(stub, [{ model, sizes }]);
    expect(result!.error).toBeUndefined();
    expect(result!.kernels).toEqual(['FLASH_ATTENTION', 'FLASH_ATTENTION']);
    expect(result!.onCpu).toEqual([]);
    expect(result!.ops).toEqual({
      LayerNormalization: 1,
      MatMul: 12,
      Cast: 1,
      PackedMultiHeadAttention: 2,
      SkipLayerNormalization: 4,
      BiasGelu: 2,
    });
  });

  it.for([
    ['lengths', {}, { lengths: ['int64', ['batch']] }, 'CUDNN_FLASH_ATTENTION'],
    ['grouped heads', { kvHeads: 2 }, {}, 'CUDNN_FLASH_ATTENTION'],
    ['causal', { attention: { name: 'scaled_dot_product', causal: true } }, {}, 'CUDNN_FLASH_ATTENTION'],
    ['a causal window', { attention: { name: 'local', window: 64, causal: true } }, {}, 'FLASH_ATTENTION'],
    ['rotaryEmbedding', { rotaryEmbedding: { name: 'rotary' } }, {}, 'CUDNN_FLASH_ATTENTION'],
  ] as const)('an encoder with %s leaves sizes alone to the CPU', async ([, options, inputs, kernel], { skip }) => {
    if (!stubFolder) return skip(why);
    const results = await Promise.all(
      (['float16', 'bfloat16'] as const).map(async (dtype) => {
        const model = compiled(encoder(2, options), dtype, { x: ['float32', ['batch', 'seq', 256]], ...inputs });
        return (await onStub(stub, [{ model, sizes: { batch: 2, seq: 512, lengths: 300 } }]))[0]!;
      }),
    );
    for (const { error, kernels: run, onCpu } of results) {
      expect(error).toBeUndefined();
      expect(run).toEqual([kernel, kernel]);
      expect(onCpu.filter((n) => !onSizes.test(n))).toEqual([]);
    }
  });
});
