// onnxformers bench model CONFIG
import { compile, createRunner, initialize, type Model, OnnxformersError, type Target } from '@onnxformers/core';
import { feedsOf } from '../../../bench/feeds';
import { attentionsOf, kernelsOf } from '../../../bench/kernels';
import { timed } from '../../../bench/times';
import { finish, outOption } from '../../bench/finish';
import { integersOf } from '../../bench/integers';
import { isLost, type LeftOut, type Row } from '../../bench/report';
import { againstOption, decomposed, type Where, whereOf } from '../../bench/where';
import { command, type Options, UsageError, type Values } from '../../command';
import { compileOptions, modelOptions } from '../../compile-options';
import { type ReadConfig, readConfig } from '../../config-file';
import { namedSizes, sizeOption } from '../../sizes-option';

const { layout: _, ...compiling } = modelOptions;
const options = {
  ...compiling,
  batch: { type: 'integer', doc: 'number of sequences; default: the number of lengths, or 1' },
  seq: { type: 'list', doc: 'positions of each sequence, a row for each number; default 128', value: 'N,…' },
  lengths: { type: 'list', doc: 'real positions of each sequence, instead of seq: a padded and a packed row', value: 'N,…' },
  ...sizeOption,
  repeat: { type: 'integer', doc: 'number of runs', default: 15 },
  warmups: { type: 'integer', doc: 'number of runs before them', default: 3 },
  ...againstOption,
  ...outOption,
} as const satisfies Options;
type Given = Values<typeof options>;

export const benchModel = command({
  name: 'bench model',
  words: ['CONFIG'],
  summary: 'Measures whole runs of the block of a config, usually a model.',
  help: [
    'onnxformers bench model lm.json --batch 4 --seq 128,512,2048 --out lm',
    'onnxformers bench model encoder.json --lengths 512,300,41 --target cuda --dtype float16',
    '',
    'Runs go through a runner: checks, and copies from and to JavaScript, are counted. Weights are initialised from a seed. Tokens per second are those of',
    'real tokens. Other sizes of the inputs: memory_seq and decoder_seq are seq, past is 0, height and width 224, unless --size gives them.',
  ].join('\n'),
  options,
  async run([path], values, output) {
    const config = await readConfig(path!);
    const cases = casesOf(values);
    const where = await whereOf(values);
    const ways: readonly Target[] = [where.target, ...(values.vs === undefined ? [] : [decomposed(where.target)])];
    const rows: Row[] = [];
    const leftOut: LeftOut[] = [];
    for (const one of cases)
      try {
        for (const way of ways) {
          output.progress(`measuring ${one.subject} on ${way.name} (${rows.length + leftOut.length + 1}) …`);
          const row = await rowOf(one, way, config, values, where);
          const before = rows.at(-1);
          const ratio = way !== where.target && before && !isLost(before) && !isLost(row);
          rows.push({
            ...row,
            ...(ways.length > 1 && { variant: way === where.target ? 'kernels' : 'decomposed' }),
            ...(ratio && { ratio: row.median / before.median }),
          });
        }
      } catch (error) {
        if (cases.length === 1 || !(error instanceof OnnxformersError)) throw error;
        leftOut.push({ name: one.subject, reason: error.message });
      }
    const setting = {
      kind: config.kind,
      block: config.module.blockName ?? path!,
      batch: cases[0]!.lengths.length,
      dtype: values.dtype,
    };
    await finish({ bench: 'model', setting, ...where.environment, rows, leftOut }, values.out, output);
  },
});

interface Case {
  readonly subject: string;
  /** Real positions of each sequence. */
  readonly lengths: readonly number[];
  /** Undefined: all sequences are equally long, and lengths are not an input. */
  readonly layout?: 'padded' | 'packed';
}

function casesOf(v: Given): readonly Case[] {
  if (v.repeat < 1) throw new UsageError('--repeat must be at least 1');
  if (v.lengths) {
    if (v.seq) throw new UsageError('--seq and --lengths cannot be given together: the longest length is seq');
    const lengths = positive('lengths', integersOf('lengths', v.lengths));
    if (v.batch !== undefined && v.batch !== lengths.length)
      throw new UsageError(`--lengths has ${lengths.length} numbers for a batch of ${v.batch}`);
    return [
      { subject: `padded to ${Math.max(...lengths)}`, lengths, layout: 'padded' },
      { subject: 'packed', lengths, layout: 'packed' },
    ];
  }
  const [batch] = positive('batch', [v.batch ?? 1]);
  return positive('seq', integersOf('seq', v.seq ?? ['128'])).map((seq) => ({
    subject: `seq ${seq}`,
    lengths: Array.from({ length: batch! }, () => seq),
  }));
}

function positive(name: string, list: readonly number[]): readonly number[] {
  if (list.some((n) => n < 1)) throw new UsageError(`--${name} contains 0; expected more than 0`);
  return list;
}

async function rowOf(
  { subject, lengths, layout }: Case,
  target: Target,
  config: ReadConfig,
  v: Given,
  where: Where,
): Promise<Row> {
  const { machine, ort } = where;
  const model = modelFor(config, { ...compileOptions({ ...v, layout }, withLengths(config, layout)), target, machine });
  const [batch, seq] = [lengths.length, Math.max(...lengths)];
  const tokens = lengths.reduce((a, b) => a + b, 0);
  const rows = layout === 'packed' ? tokens : batch * seq;
  const image = { height: 224, width: 224 };
  const bySeq = { seq, decoder_seq: seq, memory_seq: seq, tokens, memory_tokens: tokens };
  const sizes = { batch, ...bySeq, past: 0, past_memory: 0, ...image, ...namedSizes(v.size) };
  const feeds = feedsOf({ signature: model.signature, module: config.module }, sizes, lengths);
  const run = await createRunner(model, ort);
  try {
    const [times] = await timed([() => run(feeds)], { repetitions: v.repeat, warmups: v.warmups });
    return {
      subject,
      ...times!,
      tokens,
      padding: 1 - tokens / rows,
      tokensPerSecond: (1000 * tokens) / times!.median,
      attention: attentionsOf(model),
      kernels: kernelsOf(model, machine),
    };
  } finally {
    await run.dispose();
  }
}

const modelFor = ({ module }: ReadConfig, o: Parameters<typeof compile>[1]): Model =>
  compile(module, { ...o, weights: initialize(module, { seed: 1 }) });

// A padded batch of different lengths has them as inputs, as a packed one has.
function withLengths(config: ReadConfig, layout: Case['layout']): ReadConfig {
  if (layout !== 'padded') return config;
  const lengths = ['int64', ['batch']] as const;
  return { ...config, inputs: { ...config.inputs, lengths, ...(config.inputs.memory && { memory_lengths: lengths }) } };
}
