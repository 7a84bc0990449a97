// Files of a checkpoint besides its config and weights.

/** The files that a model needs to be used without the original checkpoint, as far as it has them. */
export const companions: readonly string[] = [
  '1_Pooling/config.json',
  'added_tokens.json',
  'chat_template.jinja',
  'chat_template.json',
  'config_sentence_transformers.json',
  'generation_config.json',
  'merges.txt',
  'modules.json',
  'preprocessor_config.json',
  'processor_config.json',
  'sentence_bert_config.json',
  'sentencepiece.bpe.model',
  'source.spm',
  'special_tokens_map.json',
  'spiece.model',
  'target.spm',
  'tokenizer.json',
  'tokenizer.model',
  'tokenizer_config.json',
  'video_preprocessor_config.json',
  'vocab.json',
  'vocab.txt',
];
