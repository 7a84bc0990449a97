import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { build, type PreviewServer, preview } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { recorded } from '../sentence-similarity/reference.test-helper';
import { similaritiesOf } from '../sentence-similarity/report';
import { executablePath, withPage } from './chromium.test-helper';
import { prepare } from './prepare';

// Sentences that the original has been asked about, short enough for a software adapter of WebGPU.
const cases = recorded().filter(
  ({ ids, text }) => ids.length > 1 && ids.length < 20 && text.trim() === text && !/[\n\r]/.test(text),
);
const expected = similaritiesOf(cases.map(({ vector }) => vector));
const software = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

describe.skipIf(!executablePath)('the page', () => {
  const outDir = mkdtempSync(join(tmpdir(), 'page-'));
  let server: PreviewServer;
  let address: string;

  beforeAll(async () => {
    await prepare();
    const config = {
      configFile: fileURLToPath(new URL('vite.config.ts', import.meta.url)),
      logLevel: 'error',
      build: { outDir },
    } as const;
    await build(config);
    server = await preview({ ...config, preview: { port: 0, host: '127.0.0.1' } });
    address = server.resolvedUrls!.local[0]!;
  }, 60_000);
  afterAll(async () => {
    await server?.close();
    rmSync(outDir, { recursive: true, force: true });
  });

  const withReadyPage = (args: readonly string[], use: (page: Page) => Promise<void>, query = ''): Promise<void> =>
    withPage(address + query, args, async (page) => {
      await page.waitForSelector('#compare:enabled, #device.error', { timeout: 110_000 });
      await use(page);
    });

  /** The numbers of the table for the recorded sentences. */
  async function compare(page: Page): Promise<number[][]> {
    await page.fill('#sentences', cases.map(({ text }) => text).join('\n'));
    await page.click('#compare');
    await page.waitForFunction(`document.querySelectorAll('tbody tr').length === ${cases.length}`);
    return page.$$eval('tbody tr', (rows) =>
      rows.map((row) => [...row.querySelectorAll('td')].map(({ title }) => Number(title))),
    );
  }

  const furthest = (rows: readonly (readonly number[])[]): number =>
    Math.max(...rows.flatMap((row, i) => row.map((x, j) => Math.abs(x - expected[i]![j]!))));

  it('runs on WebAssembly if WebGPU has no adapter, reports it, and agrees with the original', async () => {
    await withReadyPage([], async (page) => {
      expect(await page.textContent('#device')).toBe('Runs on WebAssembly, not on WebGPU: there is no adapter for it.');
      const rows = await compare(page);
      expect(rows).toHaveLength(cases.length);
      expect(furthest(rows)).toBeLessThan(5e-6);
    });
  }, 120_000);

  it('runs on WebGPU if there is an adapter, and agrees with the original', async (test) => {
    const use = async (page: Page) => {
      const device = await page.textContent('#device');
      if (device?.endsWith('there is no adapter for it.')) test.skip('this Chromium has no software adapter for WebGPU');
      expect(device).toBe('Runs on WebGPU.');
      expect(furthest(await compare(page))).toBeLessThan(2e-4);
    };
    await withReadyPage(software, use, '?device=webgpu');
  }, 120_000);

  it('prefers WebAssembly to a software adapter, and reports it', async (test) => {
    await withReadyPage(software, async (page) => {
      const device = await page.textContent('#device');
      if (device?.endsWith('there is no adapter for it.')) test.skip('this Chromium has no software adapter for WebGPU');
      expect(device).toBe('Runs on WebAssembly, not on WebGPU: its adapter here is in software, and slower.');
    });
  }, 120_000);

  it('requires at least two sentences', async () => {
    await withReadyPage([], async (page) => {
      await page.fill('#sentences', 'one alone\n\n');
      await page.click('#compare');
      await page.waitForFunction(`!document.querySelector('tbody')`);
      expect(await page.textContent('#time')).toBe('Two sentences at least, each on a line of its own.');
    });
  }, 120_000);
});
