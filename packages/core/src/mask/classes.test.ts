import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attentionCall } from '../testing/attention-calls';
import { maskClasses } from './classes';
import {
  and,
  causal,
  dense,
  documents,
  expressedBy,
  impliedBy,
  keyLengths,
  keyPadding,
  none,
  not,
  or,
  slidingWindow,
} from './index';
import { masksIn } from './mask';

describe('the list of classes', () => {
  it.each(Object.entries(maskClasses))('%s is there by its name', (name, make) => expect(make.class.name).toBe(name));

  it('random attention calls have all of them', () => {
    const calls = fc.sample(attentionCall, { numRuns: 400, seed: 5 });
    const seen = new Set(calls.flatMap(({ mask }) => masksIn(mask).map((m) => m.class.name)));
    expect([...seen].sort()).toEqual(Object.keys(maskClasses).sort());
  });
});

describe('a reading', () => {
  const all = { causal: true, window: true, lengths: true, keyPadding: true, documents: true, dense: true } as const;

  it('has all of a mask', () => {
    const mask = and<string>(causal, slidingWindow({ left: 3, right: 2 }), keyLengths('l'), keyPadding('p'), dense('d'));
    expect(expressedBy(mask, all)).toEqual({ left: 3, right: 0, causal: true, lengths: 'l', keyPadding: 'p', dense: 'd' });
    expect(expressedBy(documents('o', 'k'), all)).toEqual({ causal: false, documents: { offsets: 'o', keyOffsets: 'k' } });
    expect(expressedBy(none, {})).toEqual({});
  });
  it('of packed sequences with padded keys is not a feature of a kernel', () => {
    const padded = and<string>(documents('o', 'k', 'l'), causal);
    expect(expressedBy(padded, all)).toEqual({ inexpressible: { mask: 'documents with padded keys', kinds: ['documents'] } });
    expect(impliedBy(padded)).toEqual({ documents: { offsets: 'o', keyOffsets: 'k' }, right: 0 });
  });
  it.each([
    [and<string>(causal, keyLengths('l')), { causal: true } as const, 'lengths', ['lengths']],
    [slidingWindow({ left: 2, right: 0 }), { causal: true } as const, 'window(2 left, 0 right)', ['window']],
    [slidingWindow({ right: 1 }), { causal: true } as const, 'window(∞ left, 1 right)', ['window']],
    [and<string>(keyLengths('a'), keyLengths('b')), { lengths: true } as const, 'lengths, lengths', ['lengths']],
    [or<string>(causal, keyPadding('p')), all, 'causal or keyPadding', ['or', 'causal', 'keyPadding']],
    [and<string>(causal, not(causal)), all, 'not (causal)', ['not', 'causal']],
  ])('returns the part that the kernel cannot express (%#)', (mask, words, said, kinds) => {
    expect(expressedBy<string, typeof words>(mask, words)).toEqual({ inexpressible: { mask: said, kinds } });
  });
  it('omits masks of later keys for one query at the last key', () => {
    expect(expressedBy(causal, {}, { lastQuery: true })).toEqual({});
    expect(expressedBy(slidingWindow({ right: -1 }), {}, { lastQuery: true })).toHaveProperty('inexpressible');
    expect(expressedBy(and<string>(documents('o'), causal), { documents: true }, { lastQuery: true })).toHaveProperty(
      'inexpressible',
    );
  });
  it('does not use features that are only implied', () => {
    const mask = and<string>(slidingWindow({ left: 2, right: 5 }), not(causal));
    expect(impliedBy(mask)).toEqual({ left: 2, right: 5 });
    expect(expressedBy(mask, all)).toHaveProperty('inexpressible');
  });
});
