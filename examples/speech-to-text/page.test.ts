// A browser transcribes a file and the microphone, here with a tiny model of random weights.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pipeline } from '@onnxformers/models/node';
import * as ort from 'onnxruntime-node';
import { build, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { executablePath, withPage } from '../web/chromium.test-helper';

const folder = fileURLToPath(new URL('../../packages/models/fixtures/whisper', import.meta.url));
const rate = 4000;

/** A WAV file of 16 bits. */
function wavOf(samples: Int16Array): Buffer {
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(2 * rate, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write('data', 36);
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer)]);
}

describe.skipIf(!executablePath)('the page', () => {
  const outDir = mkdtempSync(join(tmpdir(), 'page-'));
  let server: PreviewServer;

  beforeAll(async () => {
    vi.stubEnv('MODEL', folder);
    const common = {
      configFile: fileURLToPath(new URL('vite.config.ts', import.meta.url)),
      logLevel: 'error',
      build: { outDir },
    } as const;
    await build(common);
    server = await preview({ ...common, preview: { port: 0, host: '127.0.0.1' } });
  }, 60_000);
  afterAll(async () => {
    await server?.close();
    rmSync(outDir, { recursive: true, force: true });
    vi.unstubAllEnvs();
  });

  it('writes what Node writes of a file, and something of the microphone', async () => {
    const sound = wavOf(Int16Array.from({ length: (3 * rate) / 2 }, (_, i) => 9000 * Math.sin(0.3 * i + i * i * 1e-5)));
    const transcribe = await pipeline('automatic-speech-recognition', folder, ort);
    const { text } = await transcribe(new Uint8Array(sound));
    await transcribe.dispose();
    const devices = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];
    await withPage(server.resolvedUrls!.local[0]!, devices, async (page) => {
      const said = async () => {
        await page.waitForFunction(`/^Done/.test(state.textContent) || state.className`, undefined, { timeout: 60_000 });
        return page.textContent('#text');
      };
      await page.waitForSelector('#record:enabled, #state.error', { timeout: 60_000 });
      expect(await page.textContent('#state')).toMatch(/^Ready, on (wasm|webgpu)/);
      await page.setInputFiles('#file', { name: 'sound.wav', mimeType: 'audio/wav', buffer: sound });
      expect(await said()).toBe(text);

      await page.click('#record');
      await page.waitForFunction(`/^Recording/.test(state.textContent) || state.className`);
      await page.waitForTimeout(500);
      await page.click('#record');
      expect(await said()).toMatch(/^w\d+( w\d+)*$/);

      await page.setInputFiles('#file', { name: 'no-sound.wav', mimeType: 'audio/wav', buffer: Buffer.from('no sound') });
      await page.waitForSelector('#state.error');
      expect(await page.textContent('#state')).toMatch(/not a sound that can be decoded/);
    });
  }, 120_000);
});
