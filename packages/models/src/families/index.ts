// All families.
import type { Family } from '../family';
import { albert } from './albert';
import { bart, marian } from './bart';
import { bert } from './bert';
import { bloom } from './bloom';
import { cohere } from './cohere';
import { distilbert } from './distilbert';
import { electra } from './electra';
import { falcon } from './falcon';
import { gemma, gemma2, gemma3 } from './gemma';
import { gptNeox } from './gpt-neox';
import { gpt2 } from './gpt2';
import { granite, llama, mistral, qwen2, qwen3, smollm3 } from './llama';
import { modernbert } from './modernbert';
import { mpnet } from './mpnet';
import { mpt } from './mpt';
import { olmo2 } from './olmo2';
import { opt } from './opt';
import { phi } from './phi';
import { phi3 } from './phi3';
import { roberta } from './roberta';
import { stablelm } from './stablelm';
import { starcoder2 } from './starcoder2';
import { t5 } from './t5';
import { vit } from './vit';

/** The families of models that are known; `fromPretrained` accepts more by its option `families`. */
export const families: readonly Family[] = [
  ...[bert, roberta, distilbert, mpnet, electra, albert, modernbert],
  ...[gpt2, gptNeox, opt, bloom, mpt, falcon, phi, phi3, stablelm, starcoder2],
  ...[llama, mistral, qwen2, qwen3, smollm3, granite, olmo2, cohere],
  ...[gemma, gemma2, gemma3],
  ...[t5, bart, marian],
  ...[vit],
];
