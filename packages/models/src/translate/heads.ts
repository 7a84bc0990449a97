// The heads of models: from a backbone to the config of a task.
import { checkArguments } from '@onnxformers/core';
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Translation } from '../family';
import type { NameEntry } from '../names';
import type { Task } from '../task';

/** The fields that all models share: `dim`, `embedding`, `stack`, … */
export type Backbone = Readonly<Record<string, unknown>> & { readonly dim: number; readonly stack: BlockConfig };

/** Number of labels: it is not stored, but the labels are. */
export const labelsOf = (config: ConfigReader): number => {
  checkArguments('labelsOf', { reader: config });
  const labels = config.section('id2label');
  return labels ? Object.keys(labels.raw).length : config.int('num_labels', 2);
};

/** Whether the head is the embedding: it is not stored, and the config says so or, silent, its family. */
export const isTied = (config: ConfigReader, checkpoint: Checkpoint, head: string, otherwise = true): boolean => {
  checkArguments('isTied', { reader: config, checkpoint });
  return !checkpoint.has(head) && config.flag('tie_word_embeddings', otherwise);
};

/** What a decoder's head depends on. */
export interface DecoderHead {
  /** Name of the head's weight in checkpoints; default `lm_head.weight`. */
  readonly head?: string;
  /** A family whose head is tied if the config does not say. */
  readonly tied?: boolean;
  readonly bias?: boolean;
  readonly logitScale?: number;
  readonly logitSoftcap?: number | undefined;
}

/** A decoder with the head of its task: hidden states, a language model, or a classifier of whole sequences. */
export function decoderWith(
  config: ConfigReader,
  at: Checkpoint,
  backbone: Backbone,
  o: DecoderHead = {},
): { readonly config: BlockConfig; readonly names: readonly NameEntry[] } {
  checkArguments('decoderWith', { reader: config });
  if (at.task === 'base') return { config: { name: 'decoder', ...backbone }, names: [] };
  if (at.task === 'sequence_classification') {
    const head = { pooling: 'last', causal: true, headBias: false, classes: labelsOf(config) };
    return { config: { name: 'classifier', ...backbone, ...head }, names: [['score.{x}', 'head.{x}']] };
  }
  const weight = o.head ?? 'lm_head.weight';
  const tied = isTied(config, at, weight, o.tied ?? false);
  return {
    config: {
      name: 'causal_lm',
      ...backbone,
      vocabSize: config.int('vocab_size'),
      tied,
      ...(o.bias && { headBias: true }),
      ...(o.logitScale !== undefined && { logitScale: o.logitScale }),
      ...(o.logitSoftcap !== undefined && { logitSoftcap: o.logitSoftcap }),
    },
    names: [[weight.replace(/weight$/, '{x}'), 'head.{x}']],
  };
}

/** A model with a head, without its backbone, and the names of the head's weights. */
export interface Head {
  readonly config: BlockConfig;
  readonly names: readonly NameEntry[];
}

/** The heads of a family of encoders, by task. */
export type EncoderHeads = Readonly<Partial<Record<Task, () => Head>>>;

/** An encoder with the head of its task. Without another one stated, a base model has none, and heads on single positions are `classifier` and `qa_outputs`. */
export function encoderWith(config: ConfigReader, { task }: Checkpoint, backbone: Backbone, own: EncoderHeads): Translation {
  const heads: EncoderHeads = {
    base: () => ({ config: { name: 'encoder' }, names: [] }),
    token_classification: () => ({
      config: { name: 'token_classifier', classes: labelsOf(config) },
      names: [['classifier.{x}', 'head.{x}']],
    }),
    question_answering: () => ({ config: { name: 'question_answering' }, names: [['qa_outputs.{x}', 'head.{x}']] }),
    ...own,
  };
  const head = heads[task]!();
  return { config: { ...head.config, ...backbone }, names: head.names };
}

/** A base model with a pooler, if it is stored under this name. */
export const poolerHead = ({ has }: Checkpoint, pooler: string): Head =>
  has(`${pooler}.weight`)
    ? { config: { name: 'pooled_encoder' }, names: [[`${pooler}.{x}`, 'pooler.{x}']] }
    : { config: { name: 'encoder' }, names: [] };

/** A classifier of the first position, after a linear map and an activation. */
export const classifierHead = (config: ConfigReader, transform: string, dense: string, out: string): Head => ({
  config: { name: 'classifier', classes: labelsOf(config), pooling: 'first', transform },
  names: [
    [`${dense}.{x}`, 'transform.{x}'],
    [`${out}.{x}`, 'head.{x}'],
  ],
});

/** A head of masked tokens, whose weight is tied unless `weight` is stored. */
export const maskedLmHead = (
  config: ConfigReader,
  at: Checkpoint,
  weight: string,
  options: Readonly<Record<string, unknown>>,
  names: readonly NameEntry[],
): Head => ({
  config: { name: 'masked_lm', vocabSize: config.int('vocab_size'), tied: isTied(config, at, weight), ...options },
  names,
});
