// Where a benchmark measures: the target, the runtime for it, and the machine.
import { type Machine, type ModelDType, type Ort, type Target, targets } from '@onnxformers/core';
import type { Values } from '../command';
import { machineOf, targetOf, type targetOptions } from '../compile-options';
import { gpus, importRuntime, runtimeFor } from '../runtimes';
import { type Environment, environmentOf } from './report';

/** A target, ready to measure on. */
export interface Where {
  readonly target: Target;
  readonly ort: Ort;
  readonly machine: Machine;
  readonly environment: Environment;
}

/** What the options of the target say, on this machine. */
export async function whereOf(v: Pick<Values<typeof targetOptions>, 'target' | 'sm' | 'cudnn'>): Promise<Where> {
  const target = targetOf(v.target);
  const ort = await importRuntime(runtimeFor(target.providers));
  const cards = target.gpu === 'nvidia' ? await gpus() : [];
  const machine = { ...(cards[0] && { sm: cards[0].sm }), ...machineOf(v) };
  return { target, ort, machine, environment: environmentOf(target, ort, machine, cards) };
}

/** The dtype of an option. */
export const dtypeOf = (dtype: string): ModelDType => dtype as ModelDType;

/** The same providers with primitive ops only. */
export function decomposed(target: Target): Target {
  const { kernels, opset } = targets.portable();
  return {
    ...target,
    name: `${target.name}, decomposed`,
    opset,
    kernels: Object.fromEntries(Object.entries(kernels).filter(([key]) => target.kernels[key])),
  };
}

/** Measure the same in primitive ops too. */
export const againstOption = {
  vs: { type: 'text', doc: 'also measure the same in primitive ops', choices: ['decomposed'] },
} as const;
