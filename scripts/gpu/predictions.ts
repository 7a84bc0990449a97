// The attention kernels that `explain` foretells for every form of masks and biases, in every dtype, against those that the runtime itself prints on a GPU.

import { subgraphsOf } from '../../packages/core/src/lowering';
import * as ops from '../../packages/core/src/ops/index';
import {
  type AttentionForm,
  attentionForms,
  formChain,
  formFeeds,
  formInputs,
  rowsOf,
} from '../../packages/onnxformers/src/bench/attention-forms';
import {
  compile,
  createRunner,
  type Graph,
  initialize,
  type Model,
  module,
  type Node,
  type Ort,
  type RunnerOptions,
  type Target,
  tensor,
  type Value,
} from '../../packages/onnxformers/src/index';
import { check, kernelsOf, logged, result, section, table } from './report';

const machine = { runtime: '1.30.0', sm: 90 };
const dtypes = ['float32', 'float16', 'bfloat16'] as const;
const settings = [
  { batch: 2, heads: 4, kvHeads: 4, headDim: 64, seq: 320 },
  { batch: 2, heads: 4, kvHeads: 2, headDim: 64, seq: 320 },
];

const nodesOf = ({ nodes }: Graph): readonly Node[] =>
  nodes.flatMap((n) => [n, ...subgraphsOf(n).flatMap(([, inner]) => nodesOf(inner))]);

/** What `explain` foretells, for all nodes together. */
function foretold({ graph, target }: Model): readonly string[] {
  return [
    ...new Set(
      nodesOf(graph).flatMap((n) =>
        (target.forecast?.([n], machine) ?? []).map(({ kernel, note }) => (note ? `${kernel} (${note.text})` : kernel)),
      ),
    ),
  ];
}

function modelOf(form: AttentionForm, s: (typeof settings)[number], dtype: (typeof dtypes)[number], target: Target): Model {
  const { batch, seq, kvSeq } = rowsOf(form, s);
  const row = (heads: number, n: number) => ['float32', [batch, heads, n, s.headDim], 'data'] as const;
  const chain = formChain(form, s, 1) as unknown as (
    q: Value,
    k: Value,
    v: Value,
    data: Readonly<Record<string, Value>>,
  ) => Value;
  const one = module({ chain } as never, (all: Readonly<Record<string, Value>>) => {
    const [q, k, v] = [all.q!, all.k!, all.v!].map((x) => ops.cast(x, x.graph.root.dtype)) as [Value, Value, Value];
    return { y: ops.cast(chain(q, k, v, all), 'float32') };
  });
  return compile(one, {
    target,
    machine,
    dtype,
    inputs: { q: row(s.heads, seq), k: row(s.kvHeads, kvSeq), v: row(s.kvHeads, kvSeq), ...formInputs(form, s) } as never,
    weights: initialize(one, { seed: 1 }),
  });
}

/** Runs every form once. */
export async function runPredictions({
  ort,
  target,
  options,
}: {
  ort: Ort;
  target: Target;
  options: RunnerOptions;
}): Promise<void> {
  const only = process.env.ONLY?.split(';');
  for (const dtype of dtypes)
    for (const s of settings)
      for (const form of attentionForms) {
        if (only && !only.includes(form.name)) continue;
        section(`${dtype}|${s.heads === s.kvHeads ? 'equal heads' : 'shared key heads'}|${form.name}`);
        try {
          const model = modelOf(form, s, dtype, target);
          const { batch, seq, kvSeq } = rowsOf(form, s);
          const some = (heads: number, n: number) =>
            tensor(
              'float32',
              [batch, heads, n, s.headDim],
              Array.from({ length: batch * heads * n * s.headDim }, (_, i) => Math.sin(i)),
            );
          const feeds = { q: some(s.heads, seq), k: some(s.kvHeads, kvSeq), v: some(s.kvHeads, kvSeq), ...formFeeds(form, s) };
          const run = await createRunner(model, ort, options);
          await run(feeds as never);
          await run.dispose();
          result({ foretold: foretold(model) });
        } catch (error) {
          result({ error: (error as Error).message.replace(/\s+/g, ' ').slice(0, 300) });
        }
      }
}

/** Prints forms whose kernels differ from what was foretold. */
export function predictions(folder: string): void {
  let [right, wrong] = [0, 0];
  const rows: (readonly string[])[] = [['dtype', 'heads', 'form', 'foretold', 'ran']];
  for (const s of logged('run-predictions', folder)) {
    const { foretold: said, error } = s.result as { foretold?: readonly string[]; error?: string };
    const ran = Object.keys(s.kernels);
    const names = (said ?? []).map((text) => text.replace(/ \(.*/, ''));
    const agrees = error === undefined && names.length === ran.length && names.every((name) => ran.includes(name));
    // A kernel whose choice depends on more has a note, which names the other one.
    const noted = error === undefined && ran.every((name) => said!.some((text) => text.includes(name)));
    if (agrees || noted) right++;
    else wrong++;
    if (!agrees) rows.push([...s.name.split('|'), error ?? (said!.join(' or ') || 'none'), kernelsOf(s)]);
  }
  table(rows);
  check(`kernels as explain foretells them: ${right} of ${right + wrong}`, wrong === 0);
}
