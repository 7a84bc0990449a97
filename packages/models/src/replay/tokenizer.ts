// Recorded texts and chats of a tokenizer: ids, tokens, pairs, decodings, a padded batch.

import { parseJson } from '../config';
import { readFile } from '../files';
import { filesIn } from '../node';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer';
import type { Check, Outcome } from './replay';

/** What the reference recorded. */
interface Recorded {
  readonly examples: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly tokens: readonly string[];
    readonly special_tokens_mask: readonly number[];
    readonly ids_without_special_tokens: readonly number[];
    readonly decoded: string;
    readonly decoded_skip_special: string;
  }[];
  readonly pairs: readonly {
    readonly text: string;
    readonly pair: string;
    readonly ids: readonly number[];
    readonly type_ids: readonly number[];
  }[];
  readonly chats: readonly {
    readonly messages: readonly { readonly role: string; readonly content: string }[];
    readonly add_generation_prompt: boolean;
    readonly text: string;
    readonly ids: readonly number[];
  }[];
  readonly padded_batch: {
    readonly texts: readonly string[];
    readonly input_ids: readonly (readonly number[])[];
    readonly attention_mask: readonly (readonly number[])[];
    readonly padding_side: 'left' | 'right';
  };
}

const plain = { add_special_tokens: false };

/** Each result with the recorded one. */
function* compared(
  t: Tokenizer,
  { examples, pairs, chats, padded_batch: batch }: Recorded,
): Iterable<[string, unknown, unknown]> {
  for (const [i, e] of examples.entries()) {
    const at = `examples.${i}`;
    yield [`${at}.ids`, t.encode(e.text), e.ids];
    yield [`${at}.tokens`, t.tokenize(e.text), e.tokens];
    yield [
      `${at}.special_tokens_mask`,
      t.sequence(e.text).texts.map((text) => Number(text === undefined)),
      e.special_tokens_mask,
    ];
    yield [`${at}.ids_without_special_tokens`, t.encode(e.text, plain), e.ids_without_special_tokens];
    yield [`${at}.decoded`, t.decode(e.ids), e.decoded];
    yield [`${at}.decoded_skip_special`, t.decode(e.ids, { skip_special_tokens: true }), e.decoded_skip_special];
  }
  for (const [i, { text, pair, ids, type_ids }] of pairs.entries()) {
    const got = t.sequence(text, { text_pair: pair });
    yield [`pairs.${i}.ids`, got.ids, ids];
    yield [`pairs.${i}.type_ids`, got.types, type_ids];
  }
  for (const [i, { messages, add_generation_prompt, text, ids }] of chats.entries()) {
    const got = t.applyChatTemplate(messages, { add_generation_prompt });
    yield [`chats.${i}.text`, got, text];
    yield [`chats.${i}.ids`, t.encode(got, plain), ids];
  }
  const { ids, attention_mask } = t(batch.texts, { padding_side: batch.padding_side });
  yield ['padded_batch.input_ids', Array.from(ids.data, Number), batch.input_ids.flat()];
  yield ['padded_batch.attention_mask', Array.from(attention_mask.data, Number), batch.attention_mask.flat()];
}

/** Replays the texts of a folder with tokenizer.json and examples.json. */
export async function replayTokenizer(folder: string): Promise<Outcome> {
  const name = folder.split('/').at(-1)!;
  const checks: Check[] = [];
  try {
    const files = filesIn(folder);
    const recorded = parseJson((await readFile(files, 'examples.json'))!, `${name}/examples.json`) as Recorded;
    for (const [output, got, wanted] of compared(await loadTokenizer(files), recorded)) {
      const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
      checks.push({
        run: 'texts',
        output,
        largest: Number(a !== b),
        allowed: 0,
        ...(a !== b && { problem: `${a} instead of ${b}` }),
      });
    }
  } catch (error) {
    return { case: name, result: 'failed', checks, reason: error instanceof Error ? error.message : String(error) };
  }
  const wrong = checks.filter(({ largest }) => largest > 0);
  const reason = wrong[0] && `${wrong[0].output}: ${wrong[0].problem} (${wrong.length} of ${checks.length})`;
  return { case: name, result: reason === undefined ? 'passed' : 'failed', checks, ...(reason !== undefined && { reason }) };
}
