// A Chromium for tests of pages.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';

function findChromium(): string | undefined {
  const named = process.env.CHROMIUM;
  if (named) return named;
  const folders = (process.env.PATH ?? '').split(delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
}

/** The program; tests are skipped without it. */
export const executablePath = findChromium();
if (!executablePath) console.warn('skipped: no Chromium is found; install one, or name it in the environment variable CHROMIUM');

const quiet = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Opens a page in a browser of its own, with further arguments. An error in the page fails the test. */
export async function withPage(address: string, args: readonly string[], use: (page: Page) => Promise<void>): Promise<void> {
  let browser: Browser | undefined;
  const problems: string[] = [];
  try {
    browser = await chromium.launch({ executablePath: executablePath!, args: [...quiet, ...args] });
    const page = await browser.newPage();
    page.on('pageerror', (error) => problems.push(error.message));
    await page.goto(address);
    await use(page);
  } finally {
    await browser?.close();
  }
  expect(problems).toEqual([]);
}
