import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseSafetensors } from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import wavefile from 'wavefile';
import { pipeline } from '../node';

const folder = fileURLToPath(new URL('../../fixtures', import.meta.url));
const whisper = new Map(
  readdirSync(`${folder}/whisper`).map((file) => [file, new Uint8Array(readFileSync(`${folder}/whisper/${file}`))]),
);
const bytes = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));
const sound = Float32Array.from(
  (
    await parseSafetensors(readFileSync(`${folder}/audio.safetensors`))
      .get('sound')!
      .load()
  ).data as Float32Array,
);

/** Its tokens are texts that show their ids: `w30 w7`. */
const textOf = (ids: readonly number[]) => ids.map((id) => `w${id}`).join(' ');

const multilingual = {
  decoder_start_token_id: 3,
  eos_token_id: 2,
  pad_token_id: 2,
  is_multilingual: true,
  lang_to_id: { '<|en|>': 10, '<|de|>': 11, '<|fr|>': 12 },
  task_to_id: { transcribe: 13, translate: 14 },
  no_timestamps_token_id: 15,
  suppress_tokens: [10, 11, 12, 13, 14, 15],
  begin_suppress_tokens: [2, 40],
};
const monolingual = {
  decoder_start_token_id: 3,
  eos_token_id: 2,
  pad_token_id: 2,
  is_multilingual: false,
  no_timestamps_token_id: 15,
  forced_decoder_ids: [[1, 15]],
  begin_suppress_tokens: [2],
};
const filesWith = (generation: object) => new Map([...whisper, ['generation_config.json', bytes(generation)] as const]);

const open: { dispose(): Promise<void> }[] = [];
afterAll(() => Promise.all(open.map((one) => one.dispose())));
async function opened(generation: object) {
  const made = await pipeline('automatic-speech-recognition', filesWith(generation), ort);
  open.push(made);
  return made;
}

/** Greedily by transformers, from the same samples; the smallest difference of two best logits was 0.008. */
const recorded = {
  german: [30, 30, 30, 42, 42, 42, 7, 33, 30, 30, 42, 39],
  english: [30, 44, 30, 7, 30, 30, 7, 8, 7, 30, 7, 30],
  // French had the largest logit of the three languages, by 4.
  heard: [30, 44, 30, 7, 30, 7, 7, 30, 7, 7, 7, 7],
  monolingual: [23, 10, 44, 17, 23, 10, 17, 23, 10, 44, 17, 23],
};

describe('automatic-speech-recognition', async () => {
  const transcribe = await opened(multilingual);

  it('writes what the reference writes, in a language, in a task', async () => {
    const german = { language: 'de', task: 'translate', max_new_tokens: 12 } as const;
    expect(await transcribe(sound, german)).toEqual({ text: textOf(recorded.german) });
    for (const language of ['en', 'English', '<|en|>'])
      expect((await transcribe(sound, { language, max_new_tokens: 12 })).text).toBe(textOf(recorded.english));
  });

  it('hears the language if it is not told', async () => {
    const texts = await transcribe([sound, Float64Array.from(sound)], { max_new_tokens: 12 });
    expect(texts).toEqual([{ text: textOf(recorded.heard) }, { text: textOf(recorded.heard) }]);
    const french = await transcribe(sound, { language: 'fr', max_new_tokens: 12 });
    expect(french.text).toBe(textOf(recorded.heard));
  });

  it('begins as the checkpoint of one language says, which has no others', async () => {
    const one = await opened(monolingual);
    expect((await one(sound, { max_new_tokens: 12 })).text).toBe(textOf(recorded.monolingual));
    await expect(one(sound, { language: 'en' })).rejects.toThrow(/language: the checkpoint is for one language/);
    const damaged = await opened({ ...monolingual, forced_decoder_ids: [[2, 15]] });
    await expect(damaged(sound)).rejects.toThrow(/forced_decoder_ids: not the tokens of a prompt/);
  });

  it('reads WAV files, from memory, paths and addresses', async () => {
    const file = new wavefile.WaveFile();
    file.fromScratch(1, 4000, '32f', [...sound] as never);
    const wav = file.toBuffer();
    const place = mkdtempSync(join(tmpdir(), 'sound-'));
    const path = join(place, 'one.wav');
    try {
      writeFileSync(path, wav);
      const address = `data:audio/wav;base64,${Buffer.from(wav).toString('base64')}`;
      const same = [wav, new Blob([wav as Uint8Array<ArrayBuffer>]), path, pathToFileURL(path), address];
      const texts = await transcribe(same, { language: 'en', max_new_tokens: 3 });
      expect(texts.map(({ text }) => text)).toEqual(same.map(() => textOf(recorded.english.slice(0, 3))));
    } finally {
      rmSync(place, { recursive: true });
    }
    await expect(transcribe(join(place, 'missing.wav'))).rejects.toThrow(/missing\.wav/);
    await expect(transcribe(7 as never)).rejects.toThrow(/not a sound; expected samples in a Float32Array \(4000 Hz\)/);
    await expect(transcribe(new Float32Array(8001))).rejects.toThrow(/longer than the window/);
  });

  it('refuses languages, tasks and options that are not there', async () => {
    await expect(transcribe(sound, { language: 'germn' })).rejects.toThrow(
      /language: .*expected en, english, de, german, fr, french/,
    );
    await expect(transcribe(sound, { task: 'summarize' as never })).rejects.toThrow(/task: .*expected transcribe, translate/);
    await expect(transcribe(sound, { langage: 'de' } as never)).rejects.toThrow(/langage/);
  });
});
