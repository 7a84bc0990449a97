// Predicts which attention kernels ONNX Runtime will run on a GPU, for each generation if the GPU is not known.
import type { Node } from '../ir/graph';
import type { Forecast, Machine } from '../lower/target';
import { attentionKernel } from './attention-kernel';

const generations: readonly (readonly [name: string, sm: number])[] = [
  ['Turing', 75],
  ['Ampere', 80],
  ['Ada', 89],
  ['Hopper', 90],
  ['Blackwell', 120],
];

/** The kernels of some nodes; generations that run the same kernels are listed together. */
export function forecast(nodes: readonly Node[], machine: Machine): readonly Forecast[] {
  const machines = machine.sm ? [[undefined, machine.sm] as const] : generations;
  const found = new Map<string, Forecast & { on: string[] }>();
  for (const [name, sm] of machines)
    for (const node of nodes) {
      const choice = attentionKernel(node, { ...machine, sm });
      if (!choice) continue;
      const key = JSON.stringify(choice);
      const known = found.get(key);
      const on = name === undefined ? [] : [name];
      if (!known) found.set(key, { on, ...choice });
      else known.on.push(...on.filter((n) => !known.on.includes(n)));
    }
  return [...found.values()];
}
