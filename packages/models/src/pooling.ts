// How a checkpoint of sentence-transformers makes one vector of a text's hidden states.
import { ConfigError, checkArguments } from '@onnxformers/core';
import { configReader, parseJson } from './config';
import { type PretrainedFiles, readFile } from './files';

/** How vectors are made of hidden states. */
export interface SentencePooling {
  /** What is pooled, as `pooled_encoder` names it: the first position, the last, or the mean of all that are not padding. */
  readonly pooling: 'first' | 'last' | 'mean';
  /** Whether the checkpoint divides vectors by their length. */
  readonly normalize: boolean;
}

const path = '1_Pooling/config.json';
const modes = { pooling_mode_cls_token: 'first', pooling_mode_mean_tokens: 'mean', pooling_mode_lasttoken: 'last' } as const;

/**
 * How a checkpoint of sentence-transformers pools: by `1_Pooling/config.json`, and by `modules.json` whether it normalizes.
 *
 * Throws   ConfigError for a checkpoint that does not say how it pools, or in a way that is not known
 * Source   Reimers & Gurevych 2019, https://arxiv.org/abs/1908.10084
 * Example  const { pooling, normalize } = await poolingOf(filesAt('https://example.org/minilm/'));
 */
export async function poolingOf(files: PretrainedFiles): Promise<SentencePooling> {
  checkArguments('poolingOf', { folder: files });
  const bytes = await readFile(files, path);
  if (!bytes)
    throw new ConfigError({
      path: `${files.name}: ${path}`,
      problem: 'missing: the checkpoint does not say how it pools',
      hint: 'Choose the pooling: mean, cls, last_token',
    });
  const config = configReader(parseJson(bytes, path), path);
  const on = Object.keys(config.raw).filter((key) => key.startsWith('pooling_mode') && config.raw[key] === true);
  if (on.length !== 1 || !Object.hasOwn(modes, on[0]!))
    throw config.refuse(
      on[0] ?? 'pooling_mode_mean_tokens',
      'a pooling that is not known',
      `one of ${Object.keys(modes).join(', ')}`,
    );
  const modules = await readFile(files, 'modules.json');
  const normalize = modules !== undefined && /"type":\s*"[^"]*\.Normalize"/.test(new TextDecoder().decode(modules));
  return { pooling: modes[on[0] as keyof typeof modes], normalize };
}
