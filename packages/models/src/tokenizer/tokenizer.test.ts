import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { filesInMemory } from '../files';
import { filesIn } from '../node';
import { loadTokenizer } from './tokenizer';

const folderOf = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));
const bytes = (json: unknown) => new TextEncoder().encode(typeof json === 'string' ? json : JSON.stringify(json));
const jsonOf = (name: string, file: string) => JSON.parse(readFileSync(`${folderOf(name)}/${file}`, 'utf8'));
const bpe = await loadTokenizer(filesIn(folderOf('tokenizer-bpe')));
const wordpiece = await loadTokenizer(filesIn(folderOf('tokenizer-wordpiece')));
const loadWith = (config: object, others: Record<string, unknown> = {}) =>
  loadTokenizer(
    filesInMemory(
      new Map([
        ['tokenizer.json', bytes(jsonOf('tokenizer-wordpiece', 'tokenizer.json'))],
        ['tokenizer_config.json', bytes({ ...jsonOf('tokenizer-wordpiece', 'tokenizer_config.json'), ...config })],
        ...Object.entries(others).map(([name, json]) => [name, bytes(json)] as const),
      ]),
    ),
  );

// Recorded texts, pairs, chats and a padded batch are replayed by replay/tokenizer.test.ts.

describe('truncation', () => {
  const text = 'the river runs and the river runs';
  const all = wordpiece.encode(text);

  it('drops ids of the text and keeps the special tokens', () => {
    const cut = wordpiece.encode(text, { truncation: true, max_length: 5 });
    expect(cut).toEqual([...all.slice(0, 4), all.at(-1)]);
    expect(wordpiece.encode(text, { truncation: true, max_length: all.length })).toEqual(all);
    expect(wordpiece.encode(text, { truncation: true, max_length: 2 })).toEqual([2, 3]);
    expect(() => wordpiece.encode(text, { truncation: true, max_length: 1 })).toThrow(/max_length.*expected at least 2.*got 1/s);
  });

  it('of a pair shortens the longer text first, or only the one that is named', () => {
    const pair = { text_pair: 'the river', max_length: 8 };
    const a = wordpiece.encode(text, { add_special_tokens: false });
    const b = wordpiece.encode('the river', { add_special_tokens: false });
    expect(wordpiece.encode(text, { ...pair, truncation: true })).toEqual([2, ...a.slice(0, 3), 3, ...b, 3]);
    expect(wordpiece.encode(text, { ...pair, truncation: 'only_first' })).toEqual([2, ...a.slice(0, 3), 3, ...b, 3]);
    const only = wordpiece.encode('the river', { text_pair: text, max_length: 8, truncation: 'only_second' });
    expect(only).toEqual([2, ...b, 3, ...a.slice(0, 3), 3]);
    expect(() => wordpiece.encode(text, { ...pair, max_length: 4, truncation: 'only_first' })).toThrow(/no room/);
  });

  it('of any texts, empty ones too, keeps a prefix of each', () => {
    const words = fc.array(fc.constantFrom('the', 'river', 'runs', 'and', 'two'), { maxLength: 9 }).map((list) => list.join(' '));
    fc.assert(
      fc.property(words, words, fc.integer({ min: 3, max: 12 }), (first, second, max_length) => {
        const cut = wordpiece.encode(first, { text_pair: second, truncation: true, max_length });
        const [a, b] = [first, second].map((one) => wordpiece.encode(one, { add_special_tokens: false }));
        const middle = cut.indexOf(3);
        expect(cut.length).toBe(Math.min(max_length, a!.length + b!.length + 3));
        expect(cut.slice(1, middle)).toEqual(a!.slice(0, middle - 1));
        expect(cut.slice(middle + 1, -1)).toEqual(b!.slice(0, cut.length - middle - 2));
      }),
    );
  });
});

describe('a batch', () => {
  it('is padded on the side that is asked for', () => {
    const { ids, attention_mask, token_type_ids } = wordpiece(['the river', 'the'], { padding_side: 'left' });
    expect(Array.from(ids.data, Number)).toEqual([2, 82, 112, 3, 0, 2, 82, 3]);
    expect(Array.from(attention_mask.data, Number)).toEqual([1, 1, 1, 1, 0, 1, 1, 1]);
    expect(token_type_ids!.dims).toEqual([2, 4]);
    expect(bpe(['the river', 'the']).token_type_ids).toBeUndefined();
  });

  it('is refused without padding if lengths differ, and without texts', () => {
    expect(() => wordpiece(['the river', 'the'], { padding: false })).toThrow(/equally long.*expected 4.*got 4, 3/s);
    expect(() => wordpiece([])).toThrow(/no text/);
    expect(() => wordpiece(['a', 'b'], { text_pair: ['c'] })).toThrow(/differ in number/);
    expect(() => wordpiece([3 as unknown as string])).toThrow(/not a text/);
  });
});

describe('files', () => {
  it('that are damaged are refused by name', async () => {
    await expect(loadTokenizer(filesInMemory(new Map()))).rejects.toThrow(/no tokenizer\.json/);
    const load = (json: unknown) => loadTokenizer(filesInMemory(new Map([['tokenizer.json', bytes(json)]])));
    await expect(load('{')).rejects.toThrow(/tokenizer\.json.*not JSON/s);
    await expect(load('[]')).rejects.toThrow(/tokenizer\.json.*not a config/s);
    await expect(load({})).rejects.toThrow(/tokenizer\.json: model.*not a tokenizer/s);
    await expect(load({ model: { type: 'Other', vocab: 3 } })).rejects.toThrow(/cannot be read/);
  });

  it('may hold special tokens and templates elsewhere', async () => {
    const elsewhere = await loadWith(
      { cls_token: undefined, chat_template: undefined },
      {
        'special_tokens_map.json': { cls_token: { content: '[CLS]' } },
        'chat_template.jinja': '{{ cls_token }}{{ messages[0].content }}',
      },
    );
    expect(elsewhere.special.cls_token).toEqual({ token: '[CLS]', id: 2 });
    expect(elsewhere.applyChatTemplate([{ role: 'user', content: 'x' }])).toBe('[CLS]x');
    expect((await loadWith({ chat_template: undefined })).hasChatTemplate).toBe(false);
  });

  it('may hold several templates, of which one is chosen by name', async () => {
    const several = await loadWith({
      chat_template: [
        { name: 'default', template: 'a' },
        { name: 'tool_use', template: '{{ tools | length }}' },
      ],
    });
    expect(several.applyChatTemplate([])).toBe('a');
    expect(several.applyChatTemplate([], { chat_template: 'tool_use', tools: [1, 2] })).toBe('2');
    expect(() => several.applyChatTemplate([], { chat_template: 'tool_usee' })).toThrow(/Did you mean "tool_use"/);
    expect(() => several.applyChatTemplate([], { chat_template: '{{ raise_exception("no") }}' })).toThrow(
      /could not be rendered.*no/s,
    );
    await expect(loadWith({ chat_template: 3 })).rejects.toThrow(/tokenizer_config\.json: chat_template/);
    expect(() => wordpiece.applyChatTemplate([], { chat_template: 'x' })).toThrow(/no template of this name/);
  });
});
