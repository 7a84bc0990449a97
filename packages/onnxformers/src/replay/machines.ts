// Machines that run plays: the float64 interpreter, or a target's runtime.
import {
  type Assumption,
  type CompileOptions,
  compile,
  createRunner,
  interpret,
  type NDArray,
  type Ort,
  type Target,
  type Tensor,
  targets,
  toArray,
  type WeightSource,
} from '@onnxformers/core';
import type { Play } from './play';

/** Runs a play: its outputs by name. */
export interface Machine {
  readonly name: string;
  run(play: Play): Promise<Readonly<Record<string, Tensor | NDArray>>>;
}

const interpreter: Machine = {
  name: 'interpreter',
  async run(play) {
    const model = compile(play.module, {
      target: targets.portable(),
      inputs: inputsOf(play),
      weights: play.weights,
      assumptions,
    });
    const values = new Map<string, NDArray>();
    for (const [name, weight] of model.weights ?? []) values.set(name, toArray(await weight.load()));
    const feeds = Object.fromEntries(
      model.traced.inputs.flatMap(({ leaf }) => {
        if (leaf?.kind !== 'input' && leaf?.kind !== 'draw') return [];
        return [[leaf.name, toArray((leaf.kind === 'draw' ? play.draws! : play.feeds)[leaf.name]!)]];
      }),
    );
    return interpret(model.traced, feeds, { parameters: (p) => values.get(model.names.nameOf.get(p)!)! });
  },
};

/** Session options without graph optimisation. */
const asWritten = { session: { graphOptimizationLevel: 'disabled' } };

function onRuntime(target: Target, ort: Ort): Machine {
  return {
    name: target.name,
    async run(play) {
      const model = compile(play.module, { target, inputs: inputsOf(play), weights: play.weights as WeightSource, assumptions });
      const run = await createRunner(model, ort, asWritten);
      try {
        const used = new Set(run.signature.inputs.map(({ name }) => name));
        const fed = Object.entries({ ...play.feeds, ...play.draws });
        return await run(Object.fromEntries(fed.filter(([name]) => used.has(name))));
      } finally {
        await run.dispose();
      }
    },
  };
}

/** The original reads padding as it is. */
const assumptions: readonly Assumption[] = ['finite padding'];

// The role of the sequence is declared, because a record may have several inputs of the same rank.
const inputsOf = ({ feeds, sequence }: Play): CompileOptions['inputs'] =>
  Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, dims }]) => [name, name === sequence ? [dtype, dims, 'sequence'] : [dtype, dims]]),
  );

const fixed: Readonly<Record<string, () => Target>> = {
  portable: () => targets.portable(),
  'portable-18': () => targets.portable(18),
  'portable-21': () => targets.portable(21),
  'portable-23': () => targets.portable(23),
  cpu: () => targets.cpu,
  cuda: () => targets.cuda,
  webgpu: () => targets.webgpu,
  wasm: () => targets.wasm,
};

/** Names for {@link machineOf}. */
export const machineNames: readonly string[] = ['interpreter', ...Object.keys(fixed)];

/** The target of a name; undefined for the interpreter. Throws   RangeError for an unknown name */
export function targetOf(name: string): Target | undefined {
  if (name === 'interpreter') return undefined;
  if (!Object.hasOwn(fixed, name)) throw new RangeError(`unknown target "${name}"; expected one of ${machineNames.join(', ')}`);
  return fixed[name]!();
}

/** The runtime of a target. */
export async function runtimeOf(name: string): Promise<Ort> {
  const web = name === 'webgpu' || name === 'wasm';
  return (web ? await import('onnxruntime-web') : await import('onnxruntime-node')) as unknown as Ort;
}

/** The machine of a name. Throws   RangeError for an unknown name */
export async function machineOf(name: string): Promise<Machine> {
  const target = targetOf(name);
  return target ? onRuntime(target, await runtimeOf(name)) : interpreter;
}
