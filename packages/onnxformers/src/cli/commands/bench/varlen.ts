// onnxformers bench varlen …
import { createRunner, OnnxformersError, toArray } from '@onnxformers/core';
import { attentionsOf, kernelsOf } from '../../../bench/kernels';
import { type Times, timed } from '../../../bench/times';
import {
  equalLengths,
  spreadLengths,
  type VarlenCase,
  type VarlenLayout,
  type VarlenSizes,
  varlenCase,
  varlenSizes,
} from '../../../bench/varlen';
import { finish, outOption } from '../../bench/finish';
import { integersOf } from '../../bench/integers';
import { type LeftOut, nameOf, type Row } from '../../bench/report';
import { dtypeOf, type Where, whereOf } from '../../bench/where';
import { command, type Options, UsageError, type Values } from '../../command';
import { targetOptions } from '../../compile-options';
import type { Output } from '../../output';

const layouts = { packed: 'packed', longest: 'padded', positions: 'padded to seqLen' } as const satisfies Record<
  string,
  VarlenLayout
>;
type LayoutName = keyof typeof layouts;
const orders = ['bidirectional', 'causal'] as const;

const { dtype, ...onTarget } = targetOptions;
const options = {
  ...onTarget,
  dtype: { type: 'list', doc: 'dtypes of weights and arithmetic; default float32', value: 'NAME,…', choices: dtype.choices },
  layout: {
    type: 'list',
    doc: 'packed, padded to the longest sequence, padded to all positions; default all',
    value: 'NAME,…',
    choices: Object.keys(layouts),
  },
  order: { type: 'list', doc: 'which masks; default both', value: 'NAME,…', choices: orders },
  sequences: { type: 'integer', doc: 'number of sequences', default: varlenSizes.lengths.length },
  lengths: { type: 'list', doc: 'their lengths; default: spread evenly from 1 to positions − 1', value: 'N,…' },
  depth: { type: 'integer', doc: 'layers', default: varlenSizes.depth },
  heads: { type: 'integer', doc: 'heads', default: varlenSizes.heads },
  'head-dim': { type: 'integer', doc: 'channels of a head', default: varlenSizes.headDim },
  hidden: { type: 'integer', doc: 'channels within the MLP; default: 4 · heads · head-dim' },
  vocab: { type: 'integer', doc: 'vocabulary', default: varlenSizes.vocabSize },
  positions: { type: 'integer', doc: 'positions of the model', default: varlenSizes.seqLen },
  repeat: { type: 'integer', doc: 'number of runs', default: 25 },
  warmups: { type: 'integer', doc: 'number of runs before them', default: 5 },
  ...outOption,
} as const satisfies Options;

export const benchVarlen = command({
  name: 'bench varlen',
  words: [],
  summary: 'Measures one language model on sequences of different lengths, padded and packed.',
  help: [
    'onnxformers bench varlen --target cuda --dtype float16,bfloat16 --out varlen',
    'onnxformers bench varlen --depth 2 --heads 4 --positions 256 --sequences 8 --repeat 7     # on a CPU',
    '',
    'The model has pre-norm layers, learned positions, an MLP with GELU and the cross-entropy in its graph. Runs go through a runner: checks, and copies from',
    'and to JavaScript, are counted. Real tokens are counted, padding is not. The last rows have sequences of equal length, where packing saves nothing.',
    'The losses of all layouts must agree; a row that differs from the first by more than 2⁻⁹ is reported.',
  ].join('\n'),
  options,
  async run(_, values, output) {
    const sizes = sizesOf(values);
    const where = await whereOf(values);
    const measured: Measured[] = [];
    const leftOut: LeftOut[] = [];
    for (const group of groupsOf(casesOf(values, sizes))) {
      const open: Opened[] = [];
      try {
        for (const one of group) {
          const name = nameOf(one);
          output.progress(`opening ${name} (${measured.length + leftOut.length + open.length + 1}) …`);
          try {
            open.push(await opened(one, where));
          } catch (error) {
            if (!(error instanceof OnnxformersError)) throw error;
            leftOut.push({ name, reason: error.message });
          }
        }
        output.progress(`measuring ${open.map(({ of }) => nameOf(of)).join(' · ')} …`);
        const times = await timed(
          open.map(({ run }) => run),
          { repetitions: values.repeat, warmups: values.warmups },
        );
        measured.push(...open.map((one, i) => ({ of: one.of, row: rowOf(one, times[i]!, where) })));
      } finally {
        for (const { dispose } of open) await dispose();
      }
    }
    compareLosses(measured, output);
    const rows = measured.map(({ row }) => row);
    const { lengths, ...setting } = sizes;
    const tokens = lengths.reduce((a, b) => a + b, 0);
    const about = {
      ...setting,
      sequences: lengths.length,
      shortest: Math.min(...lengths),
      longest: Math.max(...lengths),
      tokens,
    };
    await finish({ bench: 'varlen', setting: about, ...where.environment, rows, leftOut }, values.out, output);
  },
});

interface Case {
  readonly subject: string;
  readonly variant: (typeof orders)[number];
  readonly dtype: string;
  readonly layout: VarlenLayout;
  readonly sizes: VarlenSizes;
}

function casesOf(v: Values<typeof options>, sizes: VarlenSizes): readonly Case[] {
  const equal = { ...sizes, lengths: equalLengths(sizes.lengths) };
  const arrangements = (Object.keys(layouts) as LayoutName[])
    .filter((name) => v.layout?.includes(name) ?? true)
    .map((name) => ({ sizes, layout: layouts[name], words: wordsOf(name, sizes) }));
  const equals = arrangements
    .filter(({ layout }) => layout !== 'padded to seqLen')
    .map(({ layout, words }) => ({
      sizes: equal,
      layout,
      words: `${layout === 'packed' ? words : 'padded'}, equal lengths`,
    }));
  return (v.dtype ?? ['float32']).flatMap((of) =>
    orders
      .filter((order) => v.order?.includes(order) ?? true)
      .flatMap((variant) =>
        [...arrangements, ...equals].map(({ words, ...rest }) => ({ ...rest, subject: `${words}, ${of}`, variant, dtype: of })),
      ),
  );
}

const wordsOf = (name: LayoutName, { seqLen, lengths }: VarlenSizes): string =>
  ({ packed: 'packed', longest: `padded to ${Math.max(...lengths)}`, positions: `padded to ${seqLen}` })[name];

/** Cases of the same sequences, dtype and mask: they are measured in turn, and their losses are equal. */
const groupOf = ({ dtype: of, variant, sizes }: Case): string => `${of} ${variant} ${sizes.lengths}`;

const groupsOf = (cases: readonly Case[]): readonly (readonly Case[])[] =>
  [...new Set(cases.map(groupOf))].map((group) => cases.filter((one) => groupOf(one) === group));

/** A case, ready to run. */
interface Opened {
  readonly of: Case;
  readonly built: VarlenCase;
  readonly loss: number;
  run(): Promise<unknown>;
  dispose(): Promise<void>;
}

async function opened(of: Case, { target, machine, ort }: Where): Promise<Opened> {
  const { sizes, layout, variant, dtype: name } = of;
  const built = varlenCase(sizes, { causal: variant === 'causal', layout }, { target, machine, dtype: dtypeOf(name) });
  const run = await createRunner(built.model, ort);
  try {
    const { loss } = await run(built.feeds);
    return { of, built, loss: toArray(loss!).data[0]!, run: () => run(built.feeds), dispose: () => run.dispose() };
  } catch (error) {
    await run.dispose();
    throw error;
  }
}

function rowOf({ of: { subject, variant, sizes }, built: { model, rows }, loss }: Opened, times: Times, { machine }: Where): Row {
  const tokens = sizes.lengths.reduce((a, b) => a + b, 0);
  return {
    subject,
    variant,
    ...times,
    tokens,
    padding: 1 - tokens / rows,
    tokensPerSecond: (1000 * tokens) / times.median,
    loss,
    attention: attentionsOf(model),
    kernels: kernelsOf(model, machine),
  };
}

interface Measured {
  readonly of: Case;
  readonly row: Row;
}

// The same sequences give the same loss in every layout.
function compareLosses(measured: readonly Measured[], output: Output): void {
  const first = new Map<string, Row>();
  for (const { of, row } of measured) {
    const known = first.get(groupOf(of));
    if (!known) first.set(groupOf(of), row);
    else if (!(Math.abs(row.loss! - known.loss!) <= 2 ** -9 * Math.abs(known.loss!)))
      output.note(`wrong: the loss of "${nameOf(row)}" is ${row.loss}, that of "${nameOf(known)}" is ${known.loss}`);
  }
}

function sizesOf(v: Values<typeof options>): VarlenSizes {
  const lengths = v.lengths ? integersOf('lengths', v.lengths) : spreadLengths(v.sequences, v.positions - 1, 0.6731);
  const sizes: VarlenSizes = {
    depth: v.depth,
    heads: v.heads,
    headDim: v['head-dim'],
    hidden: v.hidden ?? 4 * v.heads * v['head-dim'],
    vocabSize: v.vocab,
    seqLen: v.positions,
    lengths,
  };
  for (const [name, n] of Object.entries({ ...sizes, sequences: lengths.length, repeat: v.repeat }))
    if (typeof n === 'number' && n <= 0) throw new UsageError(`${name} is ${n}; expected more than 0`);
  const wrong = lengths.find((n) => n < 1 || n > v.positions);
  if (wrong !== undefined)
    throw new UsageError(`--lengths contains ${wrong}; expected 1 to ${v.positions}, the positions of the model`);
  return sizes;
}
