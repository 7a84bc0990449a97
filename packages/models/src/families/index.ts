// All families.
import type { Family } from '../family';
import { albert } from './albert';
import { bert } from './bert';
import { distilbert } from './distilbert';
import { electra } from './electra';
import { gpt2 } from './gpt2';
import { granite, llama, mistral, qwen2, qwen3, smollm3 } from './llama';
import { mpnet } from './mpnet';
import { roberta } from './roberta';

/** The families of models that are known; `fromPretrained` accepts more by its option `families`. */
export const families: readonly Family[] = [
  ...[bert, roberta, distilbert, mpnet, electra, albert],
  ...[gpt2, llama, mistral, qwen2, qwen3, smollm3, granite],
];
