// The tasks of pipelines.
import { featureExtraction } from './feature-extraction';
import { fillMask } from './fill-mask';
import { imageClassification } from './image-classification';
import { imageFeatureExtraction } from './image-feature-extraction';
import { questionAnswering } from './question-answering';
import { speechRecognition } from './speech-recognition';
import { textClassification } from './text-classification';
import { textGeneration } from './text-generation';
import { summarization, text2textGeneration, translation } from './text2text';
import { tokenClassification } from './token-classification';
import { zeroShotClassification } from './zero-shot-classification';
import { zeroShotImageClassification } from './zero-shot-image-classification';

/** The tasks of {@link pipeline} by their names. */
export const pipelineTasks = {
  'automatic-speech-recognition': speechRecognition,
  'feature-extraction': featureExtraction,
  'fill-mask': fillMask,
  'image-classification': imageClassification,
  'image-feature-extraction': imageFeatureExtraction,
  'question-answering': questionAnswering,
  summarization,
  'text-classification': textClassification,
  'text-generation': textGeneration,
  'text2text-generation': text2textGeneration,
  'token-classification': tokenClassification,
  translation,
  'zero-shot-classification': zeroShotClassification,
  'zero-shot-image-classification': zeroShotImageClassification,
} as const;

/** Other names of tasks. */
export const aliases = {
  asr: 'automatic-speech-recognition',
  'sentiment-analysis': 'text-classification',
  ner: 'token-classification',
} as const;
