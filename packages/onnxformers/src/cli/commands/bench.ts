// onnxformers bench attention|block …
import { cpus } from 'node:os';
import { type Machine, type Model, type ModelDType, OnnxformersError, type Ort, type Target, targets } from '@onnxformers/core';
import { type Figure, type Subject, subjectOptions, subjectsOf } from '../bench-subjects';
import { type LeftOut, printFigures, type Row } from '../bench-table';
import { command } from '../command';
import { machineOf, targetOf, targetOptions } from '../compile-options';
import { type Gpu, gpus, importRuntime, runtimeFor } from '../runtimes';
import { ownVersion, runtimeVersion } from '../versions';

export const bench = command({
  name: 'bench',
  words: ['attention|block', '[CONFIG|NAME]'],
  summary: 'Measures one attention call, the block of a config, or registered blocks, on a target.',
  help: [
    'onnxformers bench attention --target cuda --dtype float16 --heads 16 --head-dim 128 --seq 8192 --causal --vs decomposed',
    'onnxformers bench block layer.json --seq 1024',
    'onnxformers bench block multi_head --seq 1024 --lengths 1024,300',
    'onnxformers bench block --all --kind feedforward',
    '',
    'A block given by its name is measured at its first example, with these sizes in it: heads · head-dim channels, seq positions.',
    'Data is made inside the graph. The time of one copy is the slope between a graph of few copies in a chain and one of more, so that starting a',
    'run, copying to and from JavaScript and launching are not counted.',
  ].join('\n'),
  options: {
    ...targetOptions,
    ...subjectOptions,
    vs: { type: 'text', doc: 'also measure the same in primitive ops', choices: ['decomposed'] },
  },
  async run([what, word], values, output) {
    const { list, about } = await subjectsOf(what!, word, values);
    const target = targetOf(values.target);
    const ort = await importRuntime(runtimeFor(target.providers));
    const cards = target.gpu === 'nvidia' ? await gpus() : [];
    const machine = { ...(cards[0] && { sm: cards[0].sm }), ...machineOf(values) };
    const rows: Row[] = [];
    const leftOut: LeftOut[] = [];
    const measure = async (subject: Subject, t: Target): Promise<void> => {
      const { kind, block } = subject;
      output.progress(`measuring ${kind} ${block} on ${t.name} (${rows.length + leftOut.length + 1}) …`);
      const figure = await subject.measure({ target: t, machine, dtype: values.dtype as ModelDType }, ort);
      rows.push({ kind, block, name: t.name, decomposed: t !== target, ...rowOf(figure, machine) });
    };
    for (const subject of list)
      try {
        await measure(subject, target);
        if (values.vs) await measure(subject, decomposed(target));
      } catch (error) {
        // A block that cannot be measured does not stop the sweep.
        if (list.length === 1 || !(error instanceof OnnxformersError)) throw error;
        leftOut.push({ kind: subject.kind, block: subject.block, reason: error.message });
      }
    const only = list.length === 1 && { kind: list[0]!.kind, block: list[0]!.block };
    printFigures(output, rows, leftOut, { what, ...only, ...about, dtype: values.dtype, ...environment(ort, cards) });
  },
});

/** The same providers with primitive ops only. */
function decomposed(target: Target): Target {
  const { kernels, opset } = targets.portable();
  return {
    ...target,
    name: `${target.name}, decomposed`,
    opset,
    kernels: Object.fromEntries(Object.entries(kernels).filter(([key]) => target.kernels[key])),
  };
}

const rowOf = ({ median, spread, tflops, model }: Figure, machine: Machine) => ({
  median,
  spread,
  ...(tflops !== undefined && { tflops }),
  kernels: kernelsOf(model, machine),
});

/** The ops that were measured, most frequent first, with the kernel that the runtime runs for them if the target predicts it. */
function kernelsOf({ graph, target }: Model, machine: Machine): string[] {
  const counts = new Map<string, number>();
  for (const node of graph.nodes) {
    if (!node.scope) continue; // data, not part of the measurement
    const run = [...new Set(target.forecast?.([node], machine).map((f) => f.kernel))].join(' or ');
    const name = `${node.op.key.split('.').at(-1)}${run ? ` (${run})` : ''}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([key]) => key);
}

function environment(ort: Ort, cards: readonly Gpu[]) {
  return {
    onnxformers: ownVersion(),
    onnxruntime: runtimeVersion(ort),
    node: process.versions.node,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    ...(cards.length && { gpu: cards[0]!.name, driver: cards[0]!.driver }),
    date: new Date().toISOString().slice(0, 10),
  };
}
