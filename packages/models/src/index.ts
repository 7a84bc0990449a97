// The public surface, listed by hand.

export { type ConfigReader, configReader } from './config';
export { families } from './families/index';
export type { BlockConfig, Checkpoint, Family, Translation } from './family';
export { type FilesByName, filesAt, filesInMemory, type PretrainedFiles } from './files';
export { fromPretrained, type Pretrained, type PretrainedOptions, type PretrainedReport } from './from-pretrained';
export {
  type Form,
  type NameEntry,
  type PackedEntry,
  regrouped,
  reordered,
  reshaped,
  type StoredPart,
  transposed,
  type WeightNames,
} from './names';
export { type Part, partsOf } from './parts';
export { type Task, tasks } from './task';
export type { ChatMessage, ChatOptions } from './tokenizer/chat-template';
export {
  type BatchOptions,
  type DecodeOptions,
  type Encoded,
  type EncodeOptions,
  loadTokenizer,
  type Tokenizer,
  type TokenRole,
} from './tokenizer/tokenizer';
export { activationOf } from './translate/activation';
export { type Backbone, type DecoderHead, decoderWith, isTied, labelsOf } from './translate/heads';
export { type RotaryDefaults, rotaryOf } from './translate/rotary';
