// Chat templates: messages as the text that a model was trained on.
import { Template } from '@huggingface/jinja';
import { ConfigError, describe, nearest } from '@onnxformers/core';

/** One message of a chat. Content is a text, or for models of several media a list of parts. */
export interface ChatMessage {
  readonly role: string;
  readonly content: unknown;
  readonly [key: string]: unknown;
}

/** Options of a chat template; others are variables of the template. */
export interface ChatOptions {
  /** Whether the text ends with what begins the answer. Default false. */
  readonly add_generation_prompt?: boolean;
  /** Functions that the model may call, if the template knows them. */
  readonly tools?: readonly unknown[];
  /** Documents to answer from, if the template knows them. */
  readonly documents?: readonly unknown[];
  /** The name of a template, where there are several, or a template. Default `default`. */
  readonly chat_template?: string;
  readonly [variable: string]: unknown;
}

/** Chat templates by name; a checkpoint with one has it under `default`. */
export type ChatTemplates = ReadonlyMap<string, string>;

/**
 * The templates of `chat_template` in a tokenizer's config: one, or a list with names.
 *
 * Throws   ConfigError for another value
 */
export function chatTemplatesOf(value: unknown, path: string): ChatTemplates {
  if (value === undefined || value === null) return new Map();
  if (typeof value === 'string') return new Map([['default', value]]);
  const named = (entry: unknown): entry is { name: string; template: string } =>
    typeof entry === 'object' &&
    entry !== null &&
    ['name', 'template'].every((key) => typeof Reflect.get(entry, key) === 'string');
  if (Array.isArray(value) && value.every(named)) return new Map(value.map(({ name, template }) => [name, template]));
  throw new ConfigError({
    path: `${path}: chat_template`,
    problem: 'wrong value',
    expected: 'a template, or a list of { name, template }',
    got: describe(value),
  });
}

/**
 * The text of a chat.
 *
 * Throws   ConfigError without a template, for a name of none with the nearest, and for a template that cannot be read or that refuses the messages
 */
export function renderChat(
  templates: ChatTemplates,
  messages: readonly ChatMessage[],
  { chat_template, ...variables }: ChatOptions,
  special: Readonly<Record<string, string>>,
): string {
  const template = templateOf(templates, chat_template);
  try {
    return new Template(template).render({ add_generation_prompt: false, ...special, ...variables, messages });
  } catch (cause) {
    throw new ConfigError(
      { path: 'chat template', problem: 'it could not be rendered with these messages', got: (cause as Error).message },
      { cause },
    );
  }
}

function templateOf(templates: ChatTemplates, wanted: string | undefined): string {
  const found = templates.get(wanted ?? 'default');
  if (found !== undefined) return found;
  // A name has no statement and no expression.
  if (wanted !== undefined && /\{[{%]/.test(wanted)) return wanted;
  const names = [...templates.keys()];
  const near = wanted === undefined ? undefined : nearest(wanted, names);
  throw new ConfigError({
    path: 'chat template',
    problem: names.length ? 'no template of this name' : 'the checkpoint has no chat template',
    expected: names.join(', ') || 'chat_template in tokenizer_config.json, or chat_template.jinja',
    got: wanted ?? 'nothing',
    hint: near ? `Did you mean "${near}"?` : 'Give one by the option chat_template',
  });
}
