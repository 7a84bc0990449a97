import { expect, it } from 'vitest';
import { Scratch } from './scratch';

it('memory is used again when it was given back, the smallest that is large enough', () => {
  const scratch = new Scratch();
  const [large, small] = [scratch.take(4099), scratch.take(1021)];
  expect(scratch.take(7).buffer).not.toBe(large.buffer);
  scratch.give(new Uint16Array(large.buffer, 0, 2));
  scratch.give(small);
  const again = scratch.take(1009);
  expect([again.buffer, again.byteOffset, again.byteLength]).toEqual([small.buffer, 0, 1009]);
  expect(scratch.take(1009).buffer).toBe(large.buffer);
  expect(scratch.take(1009).byteLength).toBe(1009);
});

it('does not reuse memory that is in use, foreign, or returned twice', () => {
  const scratch = new Scratch();
  const [kept, twice, other] = [scratch.take(13), scratch.take(13), new Uint8Array(13)];
  scratch.keep(kept);
  for (const array of [kept, other, twice, twice]) scratch.give(array);
  const next = [scratch.take(13), scratch.take(13), scratch.take(13)].map(({ buffer }) => buffer);
  expect(next[0]).toBe(twice.buffer);
  expect(new Set([...next, kept.buffer, other.buffer]).size).toBe(5);
});

it('releases free memory beyond a limit', () => {
  const scratch = new Scratch();
  const [huge, large] = [scratch.take(2 ** 26 + 1), scratch.take(2 ** 26)];
  scratch.give(huge);
  scratch.give(large);
  expect(scratch.take(2 ** 26).buffer).toBe(large.buffer);
  expect(scratch.take(2 ** 26).buffer).not.toBe(huge.buffer);
});
