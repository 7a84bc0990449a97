// The page of attention: what every form of masks, biases and functions of the scores becomes on every target, as compiling one call of it says.
import { attentionRules } from '../packages/attention/src/index';
import {
  type AnyModule,
  compile,
  type Machine,
  type Model,
  type ModelDType,
  module,
  type Target,
  targets,
  type Value,
} from '../packages/core/src/index';
import {
  type AttentionForm,
  attentionForms,
  type FormSizes,
  formChain,
  formInputs,
  rowsOf,
} from '../packages/onnxformers/src/bench/attention-forms';
import { attentionsOf, explainedAttentions } from '../packages/onnxformers/src/bench/kernels';

const sizes: FormSizes = { batch: 2, heads: 8, kvHeads: 8, headDim: 64, seq: 2048 };
const dtypes = ['float32', 'float16', 'bfloat16'] as const satisfies readonly ModelDType[];

const portable = targets.portable();

interface Column {
  readonly head: string;
  readonly target: Target;
  readonly machine?: Machine;
}
const tables: readonly (readonly [title: string, columns: readonly Column[]])[] = [
  [
    'On GPUs',
    [
      { head: 'cuda (Hopper, cuDNN)', target: targets.cuda, machine: { sm: 90, cudnn: '9.14' } },
      { head: 'cuda (Ampere)', target: targets.cuda, machine: { sm: 80, cudnn: '9.14' } },
      { head: 'webgpu', target: targets.webgpu },
    ],
  ],
  [
    'On CPUs, and in ops of the standard',
    [
      { head: 'cpu', target: targets.cpu },
      { head: 'wasm', target: targets.wasm },
      { head: portable.name, target: portable },
    ],
  ],
];

/** One call of a form. */
function compiled(form: AttentionForm, { target, machine = {} }: Column, dtype: ModelDType): Model {
  const { batch, seq, kvSeq } = rowsOf(form, sizes);
  const attention = formChain(form, sizes, 1);
  const alone: AnyModule = module({ attention }, ({ queries, keys, values, ...data }: Readonly<Record<string, Value>>) => ({
    y: attention(queries!, keys!, values!, data) as Value,
  }));
  const rows = (length: number) => ['float32', [batch, sizes.heads, length, sizes.headDim], 'data'] as const;
  const inputs = { queries: rows(seq), keys: rows(kvSeq), values: rows(kvSeq), ...formInputs(form, sizes) };
  return compile(alone, { target, machine, dtype, rules: attentionRules, inputs });
}

// ---- The page -------------------------------------------------------------------------------------------------------

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const short = { float32: 'f32', float16: 'f16', bfloat16: 'bf16' } as const;

/** One compiled call: what it became, why not something else, and what to change. */
interface Outcome {
  readonly form: string;
  readonly column: string;
  readonly dtype: (typeof dtypes)[number];
  readonly became: string;
  /** Why each kernel was refused, if there is none. */
  readonly refused: readonly string[];
  readonly hints: readonly string[];
}

function outcomeOf(form: AttentionForm, column: Column, dtype: (typeof dtypes)[number]): Outcome {
  const model = compiled(form, column, dtype);
  const explained = explainedAttentions(model);
  const refused = explained.flatMap((op) => (op.chosen === 'decomposed' ? op.refused : []));
  return {
    form: form.name,
    column: column.head,
    dtype,
    became: attentionsOf(model).join(', then '),
    refused: [...new Set(refused.map(({ rule, reason }) => `${rule.split(' → ').at(-1)}: ${reason.text}`))],
    hints: [...new Set(explained.flatMap(({ hints }) => hints.map(({ text }) => text)))],
  };
}

/** Entries with equal texts in one; each text with the names of its entries. */
function merged<T>(list: readonly T[], text: (x: T) => string, name: (x: T) => string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const x of list) {
    const names = found.get(text(x)) ?? [];
    if (!names.includes(name(x))) names.push(name(x));
    found.set(text(x), names);
  }
  return found;
}

function cellOf(outcomes: readonly Outcome[]): string {
  const found = merged(
    outcomes,
    ({ became }) => became,
    ({ dtype }) => short[dtype],
  );
  if (found.size === 1) return outcomes[0]!.became;
  return [...found].map(([became, names]) => `${names.join(', ')}: ${became}`).join(' · ');
}

/** Rows of names, and the rest that they have in common. */
const rowsOfForms = (entries: readonly (readonly [form: string, rest: string])[]): string[] =>
  [
    ...merged(
      entries,
      ([, rest]) => rest,
      ([form]) => form,
    ),
  ].map(([rest, forms]) => row([forms.join('; '), rest]));

const tableOf = (columns: readonly Column[], outcomes: readonly Outcome[]): string[] => {
  const cell = (form: string, { head }: Column): string => cellOf(outcomes.filter((o) => o.form === form && o.column === head));
  const cells = attentionForms.map(({ name }) => [name, columns.map((column) => cell(name, column)).join(' | ')] as const);
  return [row(['form', ...columns.map(({ head }) => head)]), row(['---', ...columns.map(() => '---')]), ...rowsOfForms(cells)];
};

/** A table of texts, each with the forms and the targets for which it holds. */
function tableOfTexts(head: string, list: readonly (Pick<Outcome, 'form' | 'column'> & { readonly text: string })[]): string[] {
  const columns = merged(
    list,
    ({ text }) => text,
    ({ column }) => column,
  );
  const cells = list.map(({ form, text }) => [form, `${columns.get(text)!.join('; ')} | ${text}`] as const);
  return [row(['forms', 'targets', head]), row(['---', '---', '---']), ...rowsOfForms(cells)];
}

const lacks = ({ name, kernels }: Target): string => {
  if (Object.keys(kernels).some((key) => key.endsWith('Attention')))
    throw new Error(`${name} has kernels of attention: say why they are refused`);
  return `\`${name}\` has no fused op for attention.`;
};

/** The page. */
export function attentionPage(): string {
  const outcomes = tables.flatMap(([, columns]) =>
    attentionForms.flatMap((form) => columns.flatMap((column) => dtypes.map((dtype) => outcomeOf(form, column, dtype)))),
  );
  const whys = outcomes.filter((o) => o.refused.length && o.column !== portable.name);
  const advice = outcomes.flatMap(({ hints, ...o }) => hints.map((text) => ({ ...o, text })));
  const { batch, heads, headDim, seq } = sizes;
  return `${[
    '# What attention is lowered to',
    '',
    'A form of attention is a class of [masks](masks.md), a bias, a function of the scores, or several of them together. A cell is what one call of it becomes, for',
    `${batch} sequences of ${seq.toLocaleString('en')} positions with ${heads} heads of ${headDim} channels. f32 is float32, f16 float16, bf16 bfloat16; a cell without them is the same for all three. In brackets is`,
    'the kernel that the CUDA provider runs for the op. Other sizes can have other outcomes, as can options such as a cache: `explain` says it for a model.',
    '',
    '- _with the mask in its bias_, _with the mask as a tensor_: the mask becomes a tensor over all pairs of queries and keys.',
    '- _Attend on padded rows_: packed rows are put into a padded batch for the attention.',
    '- _blocks_: primitives on blocks of the size of the window. _primitives_: the definition, in ops of the standard.',
    '',
    'Windows have 128 positions, blocks 64; "more keys" are 64 more than queries. `npx onnxformers bench attention --mask all` measures the same forms',
    '([command line](command-line.md#bench-attention)).',
    '',
    '<!-- Written by `npm run pages`; not to be edited by hand. -->',
    ...tables.flatMap(([title, columns]) => ['', `## ${title}`, '', ...tableOf(columns, outcomes)]),
    '',
    '## Where nothing is fused, and why',
    '',
    ...tableOfTexts(
      'reasons',
      whys.map((o) => ({ ...o, text: o.refused.join('; ') })),
    ),
    '',
    lacks(portable),
    '',
    '## What `explain` advises',
    '',
    ...tableOfTexts('advice', advice),
  ].join('\n')}\n`;
}
