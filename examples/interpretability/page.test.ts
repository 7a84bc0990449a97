// A browser builds and runs a pretrained model from a folder of safetensors behind HTTP, reading no more of it than the model needs.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readHeader, targets } from '@onnxformers/core';
import { filesIn } from '@onnxformers/models/node';
import * as ort from 'onnxruntime-node';
import { build, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { executablePath, withPage } from '../web/chromium.test-helper';
import { numbersOf, openObserver } from './inner-states';
import { serveModel } from './serve-model';

const folder = fileURLToPath(new URL('../../packages/models/fixtures/bert', import.meta.url));
const weights = new Uint8Array(readFileSync(`${folder}/model.safetensors`));

/** An answer of the server: how many bytes from where, if it is a range. */
interface Answer {
  readonly path: string;
  readonly status: number;
  readonly from: number;
  readonly to: number;
}

describe.skipIf(!executablePath)('the page', () => {
  const outDir = mkdtempSync(join(tmpdir(), 'page-'));
  const log: Answer[] = [];
  let server: PreviewServer;

  beforeAll(async () => {
    const common = {
      configFile: fileURLToPath(new URL('vite.config.ts', import.meta.url)),
      logLevel: 'error',
      build: { outDir },
    } as const;
    const logging = {
      name: 'logging',
      configurePreviewServer: ({ middlewares }: PreviewServer) => {
        middlewares.use('/model', (request, response, next) => {
          response.on('finish', () => {
            const [, from = 'NaN', to = 'NaN'] = /^bytes (\d+)-(\d+)\//.exec(String(response.getHeader('content-range'))) ?? [];
            log.push({ path: request.url!, status: response.statusCode, from: Number(from), to: Number(to) + 1 });
          });
          next();
        });
      },
    };
    await build(common);
    server = await preview({
      ...common,
      plugins: [logging, serveModel(folder)],
      preview: { port: 0, host: '127.0.0.1' },
    });
  }, 60_000);
  afterAll(async () => {
    await server?.close();
    rmSync(outDir, { recursive: true, force: true });
  });

  it('builds the model from ranges of the checkpoint and computes what Node computes', async () => {
    const observer = await openObserver(filesIn(folder), ort, targets.cpu);
    const expected = JSON.parse(JSON.stringify(numbersOf(await observer.look('the old river')))) as object;
    await observer.dispose();
    const address = server.resolvedUrls!.local[0]!;
    await withPage(address, [], async (page) => {
      const done = () => page.waitForSelector('#look:enabled, #state.error', { timeout: 110_000 });
      await done();
      expect(await page.textContent('#state')).toMatch(/^9 tokens through 2 layers in \d+ ms\.$/);
      const requests = log.length;
      await page.fill('#text', 'the old river');
      await page.click('#look');
      await page.waitForFunction(`document.getElementById('state').textContent.startsWith('5 tokens')`);
      const got = await page.evaluate(`fetch(document.getElementById('numbers').href).then((r) => r.json())`);
      expect(flat(got)).toEqual(flat(expected).map((x) => (typeof x === 'number' ? expect.closeTo(x, 5) : x)));
      expect(await page.$$eval('#attention svg, #hidden svg', (all) => all.length)).toBe(2);
      expect(log.length).toBe(requests);

      await page.goto(`${address}?model=model/nowhere/`);
      await page.waitForSelector('#state.error');
      expect(await page.textContent('#state')).toMatch(/no config\.json/);
    });

    // Ranges only, the header and the encoder, each weight once; neither the head nor the biases of keys, which softmax does not notice.
    const reads = log.filter(({ path }) => path === '/model.safetensors').slice(1);
    expect(new Set(reads.map(({ status }) => status))).toEqual(new Set([206]));
    const { entries } = readHeader(weights);
    const encoder = [...entries].filter(([name]) => !/^cls\.|key\.bias$/.test(name)).map(([, entry]) => entry);
    const header = Math.min(...encoder.map(({ start }) => start));
    const needed = [[0, 8], [8, header], ...encoder.map(({ start, end }) => [start, end])];
    const byStart = (a: readonly number[], b: readonly number[]): number => a[0]! - b[0]!;
    expect(reads.map(({ from, to }) => [from, to]).sort(byStart)).toEqual(needed.sort(byStart));
  }, 120_000);
});

/** The numbers and texts of a JSON value in their order. */
const flat = (value: unknown): readonly unknown[] =>
  typeof value === 'object' && value !== null ? Object.values(value).flatMap(flat) : [value];
