// Which attention kernel ONNX Runtime will run on a GPU.
import type { Node } from '../ir/graph';
import type { Machine } from '../lower/target';
import { type AttentionKernelName, attentionKernel } from '../targets/attention-kernel';

/** Which kernel the GPU runs for an attention, by generation. */
export interface AttentionForecast {
  /** `Hopper`, or `the GPU` where the machine is known. */
  readonly on: readonly string[];
  readonly kernel: AttentionKernelName;
  readonly note?: string;
}

const generations: readonly (readonly [name: string, sm: number])[] = [
  ['Turing', 75],
  ['Ampere', 80],
  ['Ada', 89],
  ['Hopper', 90],
  ['Blackwell', 120],
];

/** The kernels of the nodes at one place; generations that run the same are told together. */
export function forecast(machine: Machine, nodes: readonly Node[]): AttentionForecast[] {
  const machines = machine.sm ? [['the GPU', machine.sm] as const] : generations;
  const found = new Map<string, AttentionForecast & { on: string[] }>();
  for (const [name, sm] of machines)
    for (const node of nodes) {
      const choice = attentionKernel(node, { ...machine, sm })!;
      const key = JSON.stringify(choice);
      const known = found.get(key);
      if (!known) found.set(key, { on: [name], ...choice });
      else if (!known.on.includes(name)) known.on.push(name);
    }
  return [...found.values()];
}
