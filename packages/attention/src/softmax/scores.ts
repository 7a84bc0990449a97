// How scores become weights: scale, bound and sinks, with the same fields in several mechanisms.
import { type AttendOptions, choice, init, int, num, Parameter, type Value } from '@onnxformers/core';
import { missing } from '../missing';

/** The fields of a mechanism whose scores and sinks are options. */
export const scoreFields = {
  /** scale of the scores; default 1 / √head_dim. Optional. */
  scale: num({ doc: 'scale of the scores; default 1 / √head_dim', above: 0, optional: true }),
  /** bound on the scores: softcap · tanh(score / softcap); absent: no bound. Optional. */
  softcap: num({ doc: 'bound on the scores: softcap · tanh(score / softcap); absent: no bound', above: 0, optional: true }),
  /** one more logit in each softmax, whose share has no value: learned for each head, or zero; absent: none. Optional. */
  sinks: choice(['learned', 'zero'], {
    doc: 'one more logit in each softmax, whose share has no value: learned for each head, or zero; absent: none',
    optional: true,
  }),
  /** query heads, for learned sinks. Inherited from the enclosing block. */
  heads: int({ doc: 'query heads, for learned sinks', min: 1, inherit: true, optional: true }),
};

interface ScoreConfig {
  readonly scale: number | undefined;
  readonly softcap: number | undefined;
  readonly sinks: 'learned' | 'zero' | undefined;
  readonly heads: number | undefined;
}

/** The parameters that the fields ask for, and the options of an attention of queries. */
export interface Scores {
  readonly record: { readonly sinks?: Parameter };
  readonly options: (q: Value) => AttendOptions;
}

/**
 * Sinks take a share of each softmax: learned ones as in GPT-OSS, zero ones are softmax₁, exp(sⱼ) / (1 + Σ exp(s)).
 *
 * Throws   ConfigError for learned sinks without heads
 * Source   Xiao et al. 2023, https://arxiv.org/abs/2309.17453; OpenAI 2025, https://arxiv.org/abs/2508.10925
 */
export function scoresBy({ scale, softcap, sinks, heads }: ScoreConfig, path: string): Scores {
  const learned = sinks === 'learned' ? learnedSinks(heads, path) : undefined;
  const of = (q: Value): Value | undefined => {
    if (learned) return q.graph.root.param(learned);
    // From the graph's own ops, which a bundle of these mechanisms need not contain.
    return sinks && q.graph.ops.expand(q.graph.root.number(0, q.dtype), [q.dims[1]!]);
  };
  return {
    record: learned ? { sinks: learned } : {},
    options: (q) => {
      const sink = of(q);
      return { ...(scale !== undefined && { scale }), ...(softcap !== undefined && { softcap }), ...(sink && { sinks: sink }) };
    },
  };
}

function learnedSinks(heads: number | undefined, path: string): Parameter {
  if (heads === undefined) throw missing('heads', "sinks: 'learned' has one for each query head", path);
  return new Parameter([heads], init.normal(0.02), { role: 'mechanism', part: 'other' });
}
