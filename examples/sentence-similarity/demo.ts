// The demo without its model: tokens in, vectors out, everything measured on the way.

import type { Picture, Progress } from 'onnxformers';
import type { BuildEncoder } from './encoder';
import type { Options } from './options';
import { kernelsOf, type Report, similaritiesOf, type Timing } from './report';
import { toBatch } from './tokenizer';
import { readTokenizer } from './vocabulary';
import { readWeights } from './weights';

/** Runs after the first, of which the median counts. */
const repetitions = 7;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

const phases: Readonly<Record<Progress['phase'], string>> = {
  compile: 'compile',
  weights: 'convert weights',
  write: 'write files',
  session: 'open the session',
};
const describeProgress = ({ phase, fraction }: Progress): string => `${phases[phase]}, ${Math.floor(100 * fraction)} %`;

/** Encodes the sentences and compares them; also gives the graph, to be drawn if asked for. */
export async function compare(
  { sentences, target, dtype }: Pick<Options, 'sentences' | 'target' | 'dtype'>,
  build: BuildEncoder,
  onStep: (what: string) => void = () => {},
): Promise<{ report: Report; picture: Picture }> {
  const timings: Timing[] = [];
  const timed = async <T>(what: string, work: () => T | Promise<T>): Promise<T> => {
    onStep(what);
    const start = performance.now();
    const result = await work();
    timings.push({ what, milliseconds: performance.now() - start });
    return result;
  };
  const [weights, tokenizer] = await timed('read and check weights and vocabulary', () =>
    Promise.all([readWeights(), readTokenizer()]),
  );
  const batch = await timed('tokenise', () => toBatch(sentences.map((sentence) => tokenizer.encode(sentence))));
  const encoder = await timed('compile and start the session', () =>
    build(weights, { target, dtype, onProgress: (progress) => onStep(describeProgress(progress)) }),
  );
  try {
    const vectors = await timed('first run', () => encoder.encode(batch));
    onStep(`${repetitions} runs`);
    const runs: number[] = [];
    for (let i = 0; i < repetitions; i++) {
      const start = performance.now();
      await encoder.encode(batch);
      runs.push(performance.now() - start);
    }
    const run = median(runs);
    timings.push({ what: `a run with all sentences, median of ${repetitions}`, milliseconds: run });
    const report: Report = {
      sentences,
      similarities: similaritiesOf(vectors),
      target,
      dtype,
      computes: encoder.computes,
      runtime: encoder.runtime,
      kernels: kernelsOf(encoder.picture),
      perSentence: run / sentences.length,
      timings,
    };
    return { report, picture: encoder.picture };
  } finally {
    await encoder.dispose();
  }
}
