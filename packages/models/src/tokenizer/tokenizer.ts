// The tokenizer of a checkpoint: texts as token ids and back.

import { Tokenizer as Engine } from '@huggingface/tokenizers';
import { ConfigError, checkArguments, describe, FileError, OnnxformersError, type Tensor, tensor } from '@onnxformers/core';
import { type ConfigReader, configReader, parseJson } from '../config';
import { type PretrainedFiles, readFile } from '../files';
import { arranged, type Place, type Sequence, shortened, type Truncation } from './arrangement';
import { type ChatMessage, type ChatOptions, type ChatTemplates, chatTemplatesOf, renderChat } from './chat-template';

/** How one text is encoded. */
export interface EncodeOptions {
  /** A second text of the same sequence, such as the context of a question. */
  readonly text_pair?: string;
  /** Whether the tokens that begin, separate and end a sequence are added. Default true. */
  readonly add_special_tokens?: boolean;
  /** Whether longer sequences are cut at `max_length`: tokens of the texts are dropped, special tokens stay. Default false. */
  readonly truncation?: boolean | Truncation;
  /** Default: `model_max_length` of the checkpoint. */
  readonly max_length?: number;
}

/** How a batch is encoded. */
export interface BatchOptions extends Omit<EncodeOptions, 'text_pair'> {
  /** A second text for each one. */
  readonly text_pair?: string | readonly string[];
  /** Whether shorter sequences are padded to the longest, or to `max_length`. Default true. */
  readonly padding?: boolean | 'longest' | 'max_length';
  /** Default: `padding_side` of the checkpoint, or `right`. */
  readonly padding_side?: 'left' | 'right';
}

/** A batch for a model, int64 [batch, seq]. */
export interface Encoded {
  readonly ids: Tensor;
  /** 1 for a token, 0 for padding. */
  readonly attention_mask: Tensor;
  /** Which text a token belongs to; only from tokenizers that tell texts apart. */
  readonly token_type_ids?: Tensor;
}

/** How ids become text. */
export interface DecodeOptions {
  /** Whether special tokens are left out. Default false. */
  readonly skip_special_tokens?: boolean;
  /** Whether spaces before punctuation are removed. Default: as the checkpoint says. */
  readonly clean_up_tokenization_spaces?: boolean;
}

/** The names of special tokens in a tokenizer's config. */
const roles = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'] as const;

/** What a special token is for. */
export type TokenRole = (typeof roles)[number];

/** The tokenizer of a checkpoint. */
export interface Tokenizer {
  /** A padded batch of texts: feeds of a model. */
  (texts: string | readonly string[], options?: BatchOptions): Encoded;
  /** The ids of one text, or of a pair, with the text that each belongs to. */
  sequence(text: string, options?: EncodeOptions): Sequence;
  /** The ids of one text. */
  encode(text: string, options?: EncodeOptions): readonly number[];
  /** The tokens of one text as they are in the vocabulary. */
  tokenize(text: string, options?: EncodeOptions): readonly string[];
  /** The text of ids. */
  decode(ids: Iterable<number | bigint>, options?: DecodeOptions): string;
  /** The text of a chat; encode it with `add_special_tokens: false`, because templates contain the special tokens. */
  applyChatTemplate(messages: readonly ChatMessage[], options?: ChatOptions): string;
  /** The id of a token; undefined for one that is not in the vocabulary. */
  idOf(token: string): number | undefined;
  /** The token of an id; undefined for one that is not in the vocabulary. */
  tokenOf(id: number): string | undefined;
  /** Whether the id is of a special token. */
  isSpecial(id: number): boolean;
  /** Special tokens by what they are for. */
  readonly special: Readonly<Partial<Record<TokenRole, { readonly token: string; readonly id: number }>>>;
  /** Longest sequence of the model; infinite if the checkpoint does not say. */
  readonly maxLength: number;
  /** Whether the checkpoint has a chat template. */
  readonly hasChatTemplate: boolean;
}

/**
 * The tokenizer of a checkpoint: `tokenizer.json`, with `tokenizer_config.json`, `special_tokens_map.json` and the chat template if they are there.
 *
 * Throws   FileError without tokenizer.json · ConfigError for a damaged file or an unsupported tokenizer
 *
 * Example  const tokenizer = await loadTokenizer(filesAt('https://example.org/bert/'));
 *            const { ids, attention_mask } = tokenizer(['two texts', 'of several words']);
 */
export async function loadTokenizer(files: PretrainedFiles): Promise<Tokenizer> {
  checkArguments('loadTokenizer', { folder: files });
  const json = await jsonOf(files, 'tokenizer.json');
  if (!json)
    throw new FileError({
      path: files.name,
      problem: 'no tokenizer.json',
      expected: 'the file of a fast tokenizer',
      hint: 'Save the tokenizer with save_pretrained of a fast tokenizer: vocab.txt or spiece.model alone are not read',
    });
  const config = (await jsonOf(files, 'tokenizer_config.json')) ?? configReader({}, 'tokenizer_config.json');
  const map = await jsonOf(files, 'special_tokens_map.json');
  const templates = await templatesIn(files, config);
  return readable(json, () => tokenizerOf(json, config, map, templates));
}

async function jsonOf(files: PretrainedFiles, name: string): Promise<ConfigReader | undefined> {
  const bytes = await readFile(files, name);
  return bytes && configReader(parseJson(bytes, name), name);
}

async function templatesIn(files: PretrainedFiles, config: ConfigReader): Promise<ChatTemplates> {
  const alone = await readFile(files, 'chat_template.jinja');
  if (alone) return new Map([['default', new TextDecoder().decode(alone)]]);
  const own = chatTemplatesOf(config.raw.chat_template, config.path);
  if (own.size) return own;
  const file = await jsonOf(files, 'chat_template.json');
  return chatTemplatesOf(file?.raw.chat_template, 'chat_template.json');
}

function engineOf(json: ConfigReader, config: ConfigReader): Engine {
  if (!json.section('model'))
    throw json.refuse('model', 'not a tokenizer', 'a model: WordPiece, BPE or Unigram with its vocabulary');
  return readable(json, () => new Engine(json.raw, config.raw));
}

/** The engine does not check its file: parts that it misses are errors of JavaScript, some of them not before a text is read. */
function readable<T>({ path }: ConfigReader, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof OnnxformersError) throw cause;
    throw new ConfigError({ path, problem: 'a tokenizer that cannot be read', got: (cause as Error).message }, { cause });
  }
}

// Stand for the tokens of the texts where only their places are asked for.
const [first, second] = ['\u0000first', '\u0000second'];

/** Where the special tokens of a tokenizer stand. A pair without a place for its second text has it after the first. */
function placesOf(engine: Engine, pair: boolean, special: boolean): readonly Place[] {
  const { tokens = [first], token_type_ids } =
    engine.post_processor?.post_process([first], pair ? [second] : null, special) ?? {};
  const places = tokens.map((token, i): Place => {
    const type = token_type_ids?.[i] ?? 0;
    if (token === first || token === second) return { text: token === first ? 0 : 1, type };
    const id = engine.token_to_id(token);
    if (id !== undefined) return { special: id, type };
    throw new ConfigError({
      path: 'tokenizer.json: post_processor',
      problem: 'a special token that is not in the vocabulary',
      got: describe(token),
    });
  });
  return pair && !tokens.includes(second) ? [...places, { text: 1, type: 1 }] : places;
}

/** The text of a special token: written as it is, or as an object with its content. */
const contentOf = (value: unknown): string | undefined => {
  const content = typeof value === 'object' && value !== null ? Reflect.get(value, 'content') : value;
  return typeof content === 'string' ? content : undefined;
};

function specialTokens(engine: Engine, config: ConfigReader, map: ConfigReader | undefined): Tokenizer['special'] {
  const found = roles.flatMap((role) => {
    const token = contentOf(config.raw[role]) ?? contentOf(map?.raw[role]);
    const id = token === undefined ? undefined : engine.token_to_id(token);
    return token === undefined || id === undefined ? [] : [[role, { token, id }] as const];
  });
  return Object.fromEntries(found);
}

/** Longest sequence in `model_max_length`; the library writes a huge number for none. */
const longest = (config: ConfigReader): number => {
  const most = config.num('model_max_length', Number.POSITIVE_INFINITY);
  return most < 1e9 ? most : Number.POSITIVE_INFINITY;
};

/** Whether a tokenizer tells the texts of a pair apart: by its config, or because its template has types other than 0. */
function isTyped(json: ConfigReader, config: ConfigReader): boolean {
  const inputs = config.list('model_input_names');
  return inputs
    ? inputs.includes('token_type_ids')
    : /"type_id":[1-9]|"BertProcessing"/.test(JSON.stringify(json.raw.post_processor ?? null));
}

function tokenizerOf(
  json: ConfigReader,
  config: ConfigReader,
  map: ConfigReader | undefined,
  templates: ChatTemplates,
): Tokenizer {
  const engine = engineOf(json, config);
  const special = specialTokens(engine, config, map);
  const maxLength = longest(config);
  const typed = isTyped(json, config);
  const specialIds = new Set(Object.values(special).map(({ id }) => id));
  for (const [id, token] of engine.get_added_tokens_decoder()) if (token.special) specialIds.add(id);
  const names = Object.fromEntries(Object.entries(special).map(([role, { token }]) => [role, token]));

  const plain = (text: string): readonly number[] =>
    readable(json, () => engine.encode(checkText(text), { add_special_tokens: false }).ids);

  function sequence(
    text: string,
    { text_pair, add_special_tokens = true, truncation = false, max_length }: EncodeOptions,
  ): Sequence {
    const texts = text_pair === undefined ? [plain(text)] : [plain(text), plain(text_pair)];
    const places = readable(json, () => placesOf(engine, texts.length === 2, add_special_tokens));
    return arranged(places, truncation ? shortened(places, texts, max_length ?? maxLength, truncation) : texts);
  }

  function padId(): number {
    const id = special.pad_token?.id ?? special.eos_token?.id;
    if (id !== undefined) return id;
    throw config.refuse('pad_token', 'sequences of several lengths need a padding token', 'pad_token or eos_token');
  }

  function batch(texts: string | readonly string[], o: BatchOptions = {}): Encoded {
    const { text_pair, padding = true, padding_side, ...each } = o;
    const all = typeof texts === 'string' ? [texts] : texts;
    const pairs = typeof text_pair === 'string' ? [text_pair] : text_pair;
    if (!all.length || (pairs && pairs.length !== all.length))
      throw new ConfigError({
        path: 'tokenizer',
        problem: all.length ? 'texts and pairs differ in number' : 'no text',
        expected: all.length ? `${all.length} pairs` : 'at least one',
        got: String(pairs?.length ?? 0),
      });
    const rows = all.map((text, i) => sequence(text, { ...each, ...(pairs && { text_pair: pairs[i]! }) }));
    const most = Math.max(...rows.map(({ ids }) => ids.length));
    const length =
      padding === 'max_length' ? Math.max(most, o.max_length ?? (Number.isFinite(maxLength) ? maxLength : most)) : most;
    const uneven = rows.some(({ ids }) => ids.length !== length);
    if (uneven && !padding)
      throw new ConfigError({
        path: 'tokenizer: padding',
        problem: 'without padding all sequences of a batch have to be equally long',
        expected: String(length),
        got: rows.map(({ ids }) => ids.length).join(', '),
      });
    const left = (padding_side ?? config.text('padding_side', 'right')) === 'left';
    const fill = uneven ? padId() : 0;
    const padded = (of: (row: Sequence) => readonly number[], filler: number): Tensor => {
      const full = rows.flatMap((row) => {
        const missing = new Array<number>(length - row.ids.length).fill(filler);
        return left ? [...missing, ...of(row)] : [...of(row), ...missing];
      });
      return tensor('int64', [rows.length, length], full);
    };
    return {
      ids: padded(({ ids }) => ids, fill),
      attention_mask: padded(({ ids }) => ids.map(() => 1), 0),
      ...(typed && { token_type_ids: padded(({ types }) => types, 0) }),
    };
  }

  return Object.assign(batch, {
    sequence: (text: string, o: EncodeOptions = {}) => sequence(text, o),
    encode: (text: string, o: EncodeOptions = {}) => sequence(text, o).ids,
    tokenize: (text: string, o: EncodeOptions = {}) => sequence(text, o).ids.map((id) => engine.id_to_token(id) ?? ''),
    decode(ids: Iterable<number | bigint>, o: DecodeOptions = {}) {
      const all = Array.from(ids, Number);
      return all.length ? readable(json, () => engine.decode(all, o)) : '';
    },
    applyChatTemplate: (messages: readonly ChatMessage[], o: ChatOptions = {}) => renderChat(templates, messages, o, names),
    idOf: (token: string) => engine.token_to_id(token),
    tokenOf: (id: number) => engine.id_to_token(id),
    isSpecial: (id: number) => specialIds.has(id),
    special,
    maxLength,
    hasChatTemplate: templates.size > 0,
  });
}

function checkText(text: unknown): string {
  if (typeof text === 'string') return text;
  throw new ConfigError({ path: 'tokenizer', problem: 'not a text', expected: 'a string', got: describe(text) });
}
