// An encoder of BERT-base's shape on sequences of different lengths on a GPU, packed and padded. torch-encoder.py is the same model in PyTorch.
import { spreadLengths } from '../../packages/onnxformers/src/bench/varlen';
import {
  compile,
  createRunner,
  initialize,
  type Ort,
  type RunnerOptions,
  type Target,
  tensor,
  toArray,
  zoo,
} from '../../packages/onnxformers/src/index';
import { check, kernelsOf, logged, median, result, section, table } from './report';

const machine = { runtime: '1.30.0', sm: 90 };
const vocabSize = 30_522;
const base = { dim: 768, depth: 12, heads: 12, hidden: 3072 };
// A small model to try the script without a GPU.
const small = { dim: 48, depth: 2, heads: 3, hidden: 61 };
/** Numbers of sequences, and their greatest length. */
const batches =
  process.env.DEVICE === 'cpu'
    ? ([[5, 23]] as const)
    : ([
        [32, 128],
        [256, 128],
        [64, 512],
      ] as const);

/** BERT with its pooler and two classes: what a service that classifies texts runs. */
function classifier({ dim, depth, heads, hidden }: typeof base) {
  const norm = { name: 'layer_norm', eps: 1e-12 };
  return zoo.build('model', {
    name: 'classifier',
    dim,
    seqLen: 512,
    embedding: { name: 'vocab', vocabSize, typeVocabSize: 2 },
    embeddingNorm: norm,
    stack: {
      name: 'stack',
      depth,
      layers: {
        name: 'post_norm',
        mixer: { name: 'multi_head', heads },
        feedforward: { name: 'mlp', hidden, activation: 'gelu' },
        norm,
      },
    },
    pooling: 'first',
    transform: 'tanh',
    classes: 2,
  } as never);
}

const idOf = (sequence: number, i: number): number => (7 * i * i + 13 * sequence + 3 * i) % vocabSize;

interface Outcome {
  readonly rows: number;
  readonly milliseconds: number;
  readonly logits: readonly number[];
}

/** Runs all batches in both layouts, timed. */
export async function runEncoder({ ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions }): Promise<void> {
  const m = classifier(target.name === 'cuda' ? base : small);
  const about = { target, machine, dtype: 'float16', weights: initialize(m, { seed: 3, dtype: 'float16' }) } as const;
  const lengths = { lengths: ['int64', ['sequences']] } as const;
  const models = {
    packed: compile(m, { ...about, layout: 'packed', inputs: { ids: ['int64', ['tokens']], ...lengths } }),
    padded: compile(m, {
      ...about,
      assumptions: ['no empty sequences'],
      inputs: { ids: ['int64', ['batch', 'seq']], lengths: ['int64', ['batch']] },
    }),
  };
  for (const layout of ['packed', 'padded'] as const) {
    const run = await createRunner(models[layout], ort, options);
    for (const [count, most] of batches) {
      section(`${count} sequences of at most ${most}, ${layout}`);
      const counts = spreadLengths(count, most, 0.6731);
      const width = Math.max(...counts);
      const ids = counts.flatMap((n, b) =>
        Array.from({ length: layout === 'packed' ? n : width }, (_, i) => (i < n ? idOf(b, i) : 0)),
      );
      const feeds = {
        ids: tensor('int64', layout === 'packed' ? [ids.length] : [count, width], ids),
        lengths: tensor('int64', [count], counts),
      };
      const times: number[] = [];
      let logits: readonly number[] = [];
      for (let i = 0; i < (target.name === 'cuda' ? 60 : 12); i++) {
        const start = performance.now();
        const { logits: found } = await run(feeds);
        if (i > 9) times.push(performance.now() - start);
        logits = [...toArray(found!).data];
      }
      result({ rows: ids.length, milliseconds: median(times), logits });
    }
    await run.dispose();
  }
}

/** Times and kernels, and whether both layouts agree. */
export function encoder(folder: string): void {
  const timed = logged('run-bert', folder);
  const outcomes = timed.map((s) => s.result as Outcome);
  table([
    ['batch', 'rows', 'milliseconds a run', 'attention kernels'],
    ...outcomes.map((o, i) => [timed[i]!.name, o.rows, o.milliseconds.toFixed(3), kernelsOf(timed[i]!)]),
  ]);
  for (const [i, [count, most]] of batches.entries()) {
    const [packed, padded] = [outcomes[i]!.logits, outcomes[i + batches.length]!.logits];
    const apart = packed.reduce((worst, x, j) => Math.max(worst, Math.abs(x - padded[j]!)), 0);
    const largest = Math.max(...packed.map(Math.abs));
    check(
      `${count} sequences of at most ${most}: packed is padded`,
      apart < 0.02 && largest > 0,
      `${apart.toExponential(1)} of ${largest.toExponential(1)}`,
    );
  }
}
