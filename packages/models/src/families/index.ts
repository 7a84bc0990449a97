// All families.
import type { Family } from '../family';
import { albert } from './albert';
import { bart, marian } from './bart';
import { beit } from './beit';
import { bert } from './bert';
import { bloom } from './bloom';
import { clip, clipText, clipVision } from './clip';
import { cohere } from './cohere';
import { debertaV2 } from './deberta-v2';
import { deepseekV3 } from './deepseek-v3';
import { deit } from './deit';
import { dinov2 } from './dinov2';
import { distilbert } from './distilbert';
import { electra } from './electra';
import { falcon } from './falcon';
import { gemma, gemma2, gemma3 } from './gemma';
import { gptNeox } from './gpt-neox';
import { gptOss } from './gpt-oss';
import { gpt2 } from './gpt2';
import { granite, llama, mistral, qwen2, qwen3, smollm3 } from './llama';
import { mixtral } from './mixtral';
import { modernbert } from './modernbert';
import { moonshine } from './moonshine';
import { mpnet } from './mpnet';
import { mpt } from './mpt';
import { olmo2 } from './olmo2';
import { olmoe } from './olmoe';
import { opt } from './opt';
import { phi } from './phi';
import { phi3 } from './phi3';
import { qwen3Moe } from './qwen3-moe';
import { qwen3Next } from './qwen3-next';
import { roberta } from './roberta';
import { siglip, siglipText, siglipVision } from './siglip';
import { stablelm } from './stablelm';
import { starcoder2 } from './starcoder2';
import { swin } from './swin';
import { t5 } from './t5';
import { vit } from './vit';
import { whisper } from './whisper';

/** The families of models that are known; `fromPretrained` accepts more by its option `families`. */
export const families: readonly Family[] = [
  ...[bert, roberta, distilbert, mpnet, electra, albert, modernbert, debertaV2],
  ...[gpt2, gptNeox, opt, bloom, mpt, falcon, phi, phi3, stablelm, starcoder2],
  ...[llama, mistral, qwen2, qwen3, smollm3, granite, olmo2, cohere],
  ...[gemma, gemma2, gemma3],
  ...[mixtral, qwen3Moe, olmoe, gptOss, deepseekV3, qwen3Next],
  ...[t5, bart, marian, whisper, moonshine],
  ...[vit, deit, dinov2, beit, swin],
  ...[clip, clipText, clipVision, siglip, siglipText, siglipVision],
];
