import { EmbeddingsModel, type EmbeddingsModelData } from '@energetic-ai/embeddings';
import { FileError } from '@onnxformers/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readSource } from './files';
import { createTokenizer, toBatch, type Vocabulary } from './tokenizer';
import { readTokenizer } from './vocabulary';

const vocabulary = JSON.parse((await readSource('vocab.json')).toString('utf8')) as Vocabulary;
// Only the tokenizer of the original is used here, so it gets no network.
const original = new EmbeddingsModel({ vocabulary, model: undefined } as unknown as EmbeddingsModelData).tokenizer;
const tokenizer = await readTokenizer();

const texts: Readonly<Record<string, string>> = {
  'the empty text': '',
  'one letter': 'a',
  'a sentence': 'The quick brown fox jumps over the lazy dog.',
  'a question': "How old are you? I'm thirty-two, I think…",
  'spaces around and between': '   two   spaces  ',
  'tabs and line ends': 'a\tb\r\nc\n',
  'spaces that normalise to a space': 'no\u00a0break\u2003em\u3000ideographic',
  'spaces that do not': 'zero\u200bwidth\u2028line\u2060joiner\ufeff',
  accents: 'Ça coûte 12 €, señor Müller; Ångström, naïve, Łódź',
  'accents written apart': 'Ca\u0327 cou\u0302te, se\u0303nor',
  ligatures: 'ﬁne ofﬁce ½ ² ™ Ⅻ ｆｕｌｌ ｗｉｄｔｈ',
  cyrillic: 'Широкая электрификация южных губерний',
  greek: 'Ξεσκεπάζω την ψυχοφθόρα βδελυγμία',
  arabic: 'السلام عليكم ورحمة الله',
  hebrew: 'עִבְרִית',
  chinese: '我能吞下玻璃而不伤身体。',
  japanese: 'いろはにほへと チリヌルヲ ﾊﾝｶｸ',
  korean: '키스의 고유조건은',
  thai: 'สวัสดีครับ',
  hindi: 'नमस्ते दुनिया',
  emoji: 'I ❤️ 🍕 and 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷',
  'emoji alone': '🙂',
  'many unknowns': '🙂🙂🙂 日本 🙂',
  'half a surrogate pair': 'a\ud83db\ude42c',
  'markers of the vocabulary': '<s> </s> extra_token_id_1 � ▁▁',
  'names of object members': 'constructor __proto__ hasOwnProperty toString',
  numbers: '3.14159 1,000,000 1e-9 0x7f 2024-02-29',
  code: 'for (let i = 0; i < n; i++) { x[i] ??= {y}; } // ok?',
  'an address': 'https://example.org/a/b?c=d&e=%20#f',
  'one very long word': 'antidisestablishmentarianism'.repeat(40),
  'a very long text': 'It was the best of times, it was the worst of times. '.repeat(120),
  'one letter many times': 'a'.repeat(3000),
  'a piece that stands in the vocabulary three times': 'size 6”5 x',
};

describe('tokenizer', () => {
  it.each(Object.entries(texts))('gives the ids of the original for %s', (_, text) => {
    expect(tokenizer.encode(text)).toEqual(original.encode(text));
  });

  it('returns the ids of the original for every piece of the vocabulary', () => {
    for (const [piece] of vocabulary) expect(tokenizer.encode(piece), piece).toEqual(original.encode(piece));
  });

  it('returns the ids of the original for any string', () => {
    const piece = fc.nat(vocabulary.length - 1).map((id) => vocabulary[id]![0]);
    const text = fc.array(fc.oneof(piece, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.constant(' ')), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(text, (parts) => {
        const joined = parts.join('').replaceAll('▁', ' ');
        expect(tokenizer.encode(joined)).toEqual(original.encode(joined));
      }),
      { numRuns: 1000 },
    );
  });

  it('follows the original for ties, scores of 0, and characters without a piece', () => {
    const pieces = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 3 });
    const scores = fc.constantFrom(-3, -2, -1, -0.5, 0);
    const made = fc.array(fc.tuple(pieces, scores), { maxLength: 8 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), maxLength: 12 });
    fc.assert(
      fc.property(made, text, (entries, input) => {
        const small: [string, number][] = [...Array.from({ length: 6 }, (): [string, number] => ['?', 0]), ...entries];
        const theirs = new EmbeddingsModel({ vocabulary: small, model: undefined } as unknown as EmbeddingsModelData).tokenizer;
        expect(createTokenizer(small).encode(input)).toEqual(theirs.encode(input));
      }),
      { numRuns: 3000 },
    );
  });

  it('shows pieces', () => {
    expect(tokenizer.pieces(tokenizer.encode('hello 🙂 world')).join('|')).toBe('▁hell|o|▁|�|▁world');
  });

  it('refuses a folder without the vocabulary', async () => {
    await expect(readTokenizer('/no/such/folder')).rejects.toThrow(FileError);
    await expect(readTokenizer('/no/such/folder')).rejects.toThrow('/no/such/folder/vocab.json: cannot be read');
  });
});

describe('toBatch', () => {
  it('pads short sequences, keeps empty ones, and returns the lengths', () => {
    const { ids, lengths } = toBatch([[11, 13, 17], [], [19]]);
    expect(ids).toEqual({ dtype: 'int64', dims: [3, 3], data: BigInt64Array.from([11n, 13n, 17n, 0n, 0n, 0n, 19n, 0n, 0n]) });
    expect(lengths).toEqual({ dtype: 'int64', dims: [3], data: BigInt64Array.from([3n, 0n, 1n]) });
  });

  it('cuts to 128 tokens', () => {
    const { ids, lengths } = toBatch([Array.from({ length: 131 }, (_, i) => i), [7]]);
    expect(ids.dims).toEqual([2, 128]);
    expect(ids.data[127]).toBe(127n);
    expect([...lengths.data]).toEqual([128n, 1n]);
  });

  it('has at least one column', () => {
    expect(toBatch([[]]).ids.dims).toEqual([1, 1]);
  });
});
