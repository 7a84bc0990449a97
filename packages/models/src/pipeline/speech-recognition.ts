// Speech as text.
import { ConfigError, checkOptions, describe } from '@onnxformers/core';
import type { AudioProcessor } from '../audio/audio-processor';
import { decodeAudio } from '../audio/decode';
import { chooser, likeliest } from '../generation/choose';
import { generateTokens, type Start } from '../generation/generate';
import { type GenerationOptions, generationOptions, settingsOf } from '../generation/settings';
import { type WithMemory, withMemory } from '../generation/with-memory';
import { generationDefaults } from './generation-defaults';
import type { ReadAddress, TaskDefinition } from './task';
import { type SpeechTask, type WhisperPrompt, whisperPrompt } from './whisper-prompt';

/** Samples of one channel at the sampling rate of the checkpoint, or a file: its bytes, or its address. */
export type Sound = Float32Array | Float64Array | Uint8Array | Blob | URL | string;

/** Options of speech recognition. */
export interface SpeechRecognitionOptions extends GenerationOptions, SpeechTask {}

/** What was said. */
export interface Transcribed {
  readonly text: string;
}

/** Texts of one sound, or of each. */
export interface SpeechRecognition {
  (sound: Sound, options?: SpeechRecognitionOptions): Promise<Transcribed>;
  (sounds: readonly Sound[], options?: SpeechRecognitionOptions): Promise<Transcribed[]>;
}

const known = { ...generationOptions, language: true, task: true } as const;

/** Speech recognition by an encoder-decoder that reads log-mel frames or samples. */
export const speechRecognition: TaskDefinition<SpeechRecognition, 'tokenizer' | 'audioProcessor'> = {
  head: 'seq2seq_lm',
  reads: ['tokenizer', 'audioProcessor'],
  async open({ model, tokenizer, audioProcessor: processor, place, read }) {
    const defaults = await generationDefaults(model);
    const run = await withMemory(model, place, { features: ['float32', featureDims(processor)] });
    const { samplingRate, logMel } = processor.preprocessing;

    async function transcribe(sound: Sound, o: SpeechRecognitionOptions): Promise<Transcribed> {
      const samples = await samplesOf(sound, samplingRate, read);
      const settings = settingsOf(
        { ...(!logMel && limitFor(samples.length / samplingRate, o)), ...o },
        defaults,
        model.reader,
        tokenizer.special.pad_token?.id,
      );
      const begin = settings.start ?? tokenizer.special.bos_token?.id;
      if (begin === undefined)
        throw new ConfigError({ path: 'generation: decoder_start_token_id', problem: 'missing', expected: 'a token id' });
      const prompt = whisperPrompt(begin, o, defaults, model.reader);
      const start = await prompted(run, await run.start({ features: processor.process([samples]) }, [prompt.before]), prompt);
      const [tokens] = await generateTokens(run.decoder, start, {
        steps: settings.steps(start.ids[0]!.length),
        choose: chooser(settings),
        ends: settings.ends,
        pad: settings.pad,
      });
      return { text: tokenizer.decode(tokens!, { skip_special_tokens: true }) };
    }
    async function call(sounds: Sound | readonly Sound[], o: SpeechRecognitionOptions = {}) {
      checkOptions('automatic-speech-recognition', o as object, known as Record<string, true>);
      if (!Array.isArray(sounds)) return transcribe(sounds as Sound, o);
      const results: Transcribed[] = [];
      for (const sound of sounds as readonly Sound[]) results.push(await transcribe(sound, o));
      return results;
    }
    return { call: call as SpeechRecognition, dispose: run.dispose };
  },
};

/** Frames of a window have one size; samples vary. */
function featureDims({ preprocessing: { logMel } }: AudioProcessor): readonly (string | number)[] {
  return logMel ? ['batch', Math.floor(logMel.length / logMel.hopLength), logMel.bands] : ['batch', 'seq', 1];
}

// Nobody says more tokens in a second. A model of short sounds would otherwise repeat itself up to its longest text.
const tokensPerSecond = 6.5;
const limitFor = (seconds: number, o: GenerationOptions): GenerationOptions =>
  o.max_length === undefined ? { max_new_tokens: Math.max(1, Math.ceil(seconds * tokensPerSecond)) } : {};

/** The whole prompt, with the language that the model hears. */
async function prompted(run: WithMemory, start: Start, { before, languages, after }: WhisperPrompt): Promise<Start> {
  if (!languages) return start;
  const choose = (logits: Float32Array): number => {
    const among = likeliest(Float32Array.from(languages, (id) => logits[id]!));
    return languages[among]!;
  };
  const [language] = await generateTokens(run.decoder, start, { steps: 1, choose });
  return { ...start, ids: [[...before, ...language!, ...after]] };
}

async function samplesOf(sound: Sound, samplingRate: number, read: ReadAddress): Promise<Float32Array> {
  if (sound instanceof Float32Array) return sound;
  if (sound instanceof Float64Array) return Float32Array.from(sound);
  if (sound instanceof Uint8Array || sound instanceof Blob) return decodeAudio(sound, samplingRate);
  if (typeof sound === 'string' || sound instanceof URL) return decodeAudio(await read(sound), samplingRate);
  throw new ConfigError({
    path: 'automatic-speech-recognition: sound',
    problem: 'not a sound',
    expected: `samples in a Float32Array (${samplingRate} Hz), bytes of a file, or its address`,
    got: describe(sound),
  });
}
