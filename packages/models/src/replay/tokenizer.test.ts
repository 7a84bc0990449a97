import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { replayTokenizer } from './tokenizer';

it.each(['tokenizer-bpe', 'tokenizer-wordpiece'])('%s gives what the reference gave', async (name) => {
  const outcome = await replayTokenizer(fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url)));
  expect(outcome.reason).toBeUndefined();
  expect(outcome.checks.length).toBeGreaterThan(60);
});
