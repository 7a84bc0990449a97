// The public surface, listed by hand.

export { type AudioProcessor, audioProcessor } from './audio/audio-processor';
export { decodeAudio } from './audio/decode';
export type { LogMelOptions } from './audio/log-mel';
export { type AudioPreprocessing, audioPreprocessing } from './audio/preprocessing';
export { type ConfigReader, configReader } from './config';
export { families } from './families/index';
export type { BlockConfig, Checkpoint, Family, Translation } from './family';
export { type FilesByName, filesAt, filesInMemory, type PretrainedFiles } from './files';
export { fromPretrained, type PretrainedOptions } from './from-pretrained';
export type { GenerationOptions } from './generation/settings';
export { decodeImage, type Sharp } from './images/decode';
export { type ImageProcessor, imageProcessor } from './images/image-processor';
export { type ImagePreprocessing, type ImageSize, imagePreprocessing } from './images/preprocessing';
export type { RawImage, Resampling } from './images/resample';
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
export { type Part, partsOf, towersOf } from './parts';
export type { FeatureExtraction, FeatureExtractionOptions } from './pipeline/feature-extraction';
export type { FilledMask, FillMask, FillMaskOptions } from './pipeline/fill-mask';
export type { ImageClassification, ImageClassificationOptions } from './pipeline/image-classification';
export type { ImageFeatureExtraction, ImageFeatureExtractionOptions } from './pipeline/image-feature-extraction';
export type { ImageInput, ImageInputs } from './pipeline/images';
export type { Label } from './pipeline/labels';
export {
  type Pipeline,
  type PipelineCall,
  type PipelineOptions,
  type PipelineParts,
  type PipelineTask,
  pipeline,
} from './pipeline/pipeline';
export type { Answer, QuestionAnswering, QuestionAnsweringOptions } from './pipeline/question-answering';
export type { Sound, SpeechRecognition, SpeechRecognitionOptions, Transcribed } from './pipeline/speech-recognition';
export type { Preprocessors } from './pipeline/task';
export type { TextClassification, TextClassificationOptions } from './pipeline/text-classification';
export type { GeneratedText, TextGeneration, TextGenerationOptions } from './pipeline/text-generation';
export type { Summarized, Text2Text, TextToText, Translated } from './pipeline/text2text';
export type { LabelledToken, TokenClassification, TokenClassificationOptions } from './pipeline/token-classification';
export type { SpeechTask } from './pipeline/whisper-prompt';
export type { ZeroShot, ZeroShotClassification, ZeroShotOptions } from './pipeline/zero-shot-classification';
export type { ZeroShotImageClassification, ZeroShotImageOptions } from './pipeline/zero-shot-image-classification';
export type { Device, PlaceOptions } from './place';
export { poolingOf, type SentencePooling } from './pooling';
export type { Compilable, Pretrained, PretrainedReport } from './pretrained';
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
