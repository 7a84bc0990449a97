// The attention kernel that is foretold for every form of every op, and on every generation of GPUs, against the CUDA provider itself.
//
// The lists in `__snapshots__` are what is foretold. With STUB_CUDA (see stub.test-helper.ts) the provider runs every form over stand-ins for CUDA's libraries, and
// must print the same.
import type { Machine, ModelDType } from '@onnxformers/core';
import { attentionKernel } from '@onnxformers/core/lowering';
import { describe, expect, it } from 'vitest';
import { attentionNodes, dtypesOf, modelOfNode } from './attention-nodes.test-helper';
import { onStub, type StubMachine, stubFolder } from './stub.test-helper';

const why = 'STUB_CUDA is not set, so the CUDA provider cannot be asked what it does';

const machines: readonly (readonly [name: string, StubMachine, Machine])[] = [
  ['sm-70', { sm: 70, cudnn: 91400 }, { sm: 70, cudnn: '9.14' }],
  ['sm-75', { sm: 75, cudnn: 91400 }, { sm: 75, cudnn: '9.14' }],
  ['sm-80', { sm: 80, cudnn: 91400 }, { sm: 80, cudnn: '9.14' }],
  ['sm-89', { sm: 89, cudnn: 91400 }, { sm: 89, cudnn: '9.14' }],
  ['sm-90', { sm: 90, cudnn: 91400 }, { sm: 90, cudnn: '9.14' }],
  ['sm-90-cudnn-9.10.0', { sm: 90, cudnn: 91000 }, { sm: 90, cudnn: '9.10.0' }],
  ['sm-90-no-cudnn', { sm: 90, cudnn: 'none' }, { sm: 90, cudnn: 'none' }],
  ['sm-100', { sm: 100, cudnn: 91400 }, { sm: 100, cudnn: '9.14' }],
  ['sm-120', { sm: 120, cudnn: 91400 }, { sm: 120, cudnn: '9.14' }],
];

interface Case {
  readonly name: string;
  readonly dtype: ModelDType;
  readonly model: ReturnType<typeof modelOfNode>;
  readonly sizes: Readonly<Record<string, number>>;
}

/** Every form in every dtype. Of bfloat16 on a GPU that has none GroupQueryAttention alone: the stand-ins compute nothing, so they do not show what it refuses. */
const casesOn = ({ sm }: StubMachine): readonly Case[] =>
  attentionNodes.flatMap((node) =>
    dtypesOf(node)
      .filter((dtype) => dtype !== 'bfloat16' || sm >= 80 || node.key.endsWith('GroupQueryAttention'))
      .map((dtype) => ({
        name: node.name,
        dtype,
        model: modelOfNode(node, dtype),
        sizes: Object.fromEntries(Object.entries(node.fill ?? {}).map(([name, n]) => [`in_${name}`, n])),
      })),
  );

/** XQA runs where the provider happens to update the cache in place. What is refused for want of bfloat16 would be computed by products that the GPU does not have. */
function foretold({ model }: Case, machine: Machine): string {
  const [choice] = model.graph.nodes.map((node) => attentionKernel(node, machine)).filter((c) => c !== undefined);
  if (choice?.note?.code === 'noBfloat16') return 'NONE or MATH';
  return choice?.note?.code === 'xqa' ? `${choice.kernel} or XQA` : (choice?.kernel ?? 'unknown');
}

const listOf = (cases: readonly Case[], kernel: (c: Case, i: number) => string): string =>
  `${cases.map((c, i) => `${c.name}, ${c.dtype}: ${kernel(c, i)}`).join('\n')}\n`;

/** What the provider ran, where that is not what is foretold, and otherwise as it is foretold. */
async function ran(stub: StubMachine, machine: Machine, cases: readonly Case[]): Promise<string> {
  const results = await onStub(stub, cases);
  return listOf(cases, (c, i) => {
    const { error, kernels } = results[i]!;
    const expected = foretold(c, machine);
    const kernel = error === undefined ? kernels.join(', ') : 'NONE';
    return expected.split(' or ').includes(kernel) ? expected : kernel + (error === undefined ? '' : `: ${error}`);
  });
}

describe.each(machines)('%s', (name, stub, machine) => {
  const cases = casesOn(stub);

  it('has a known kernel for every form', async () => {
    await expect(listOf(cases, (c) => foretold(c, machine))).toMatchFileSnapshot(`./__snapshots__/attention-kernels/${name}.txt`);
  });

  it('runs these kernels', { timeout: 600_000 }, async ({ skip }) => {
    if (!stubFolder) return skip(why);
    expect(await ran(stub, machine, cases)).toBe(listOf(cases, (c) => foretold(c, machine)));
  });
});

// The runtime's switches: what each changes, on a machine where it changes something.
describe.each<readonly [sm: number, environment: NonNullable<Machine['environment']>]>([
  [90, { ORT_ENABLE_CUDNN_FLASH_ATTENTION: '0', ORT_ENABLE_XQA: '0' }],
  [80, { ORT_ENABLE_CUDNN_FLASH_ATTENTION: '1' }],
  [80, { ORT_DISABLE_FLASH_ATTENTION: '1' }],
  [80, { ORT_DISABLE_FLASH_ATTENTION: '1', ORT_DISABLE_MEMORY_EFFICIENT_ATTENTION: '1' }],
  [80, { ORT_MIN_SEQ_LEN_EFFICIENT_ATTENTION_FP32: '0', ORT_MIN_SEQ_LEN_FLASH_ATTENTION_PACKED_QKV: '0' }],
  [75, { ORT_DISABLE_FUSED_ATTENTION: '1' }],
  [75, { ORT_DISABLE_TRT_FLASH_ATTENTION: '1', ORT_DISABLE_FUSED_CROSS_ATTENTION: '1' }],
])('compute capability %i with %o', (sm, environment) => {
  const stub = { sm, cudnn: 91400, environment };
  const plain = { sm, cudnn: '9.14' };
  const machine = { ...plain, environment };
  const changed = casesOn(stub).filter((c) => foretold(c, machine) !== foretold(c, plain));
  const listed = listOf(changed, (c) => `${foretold(c, plain)} → ${foretold(c, machine)}`);

  it('changes these kernels', () => expect(listed).toMatchSnapshot());

  it('runs them', { timeout: 600_000 }, async ({ skip }) => {
    if (!stubFolder) return skip(why);
    expect(await ran(stub, machine, changed)).toBe(listOf(changed, (c) => foretold(c, machine)));
  });
});
