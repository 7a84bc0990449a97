/**
 * The overhead of a runner: each case is run by a runner and by the bare session, in turn, on tensors that were made beforehand, and also by
 * a runner whose session returns immediately, which measures only the JavaScript.
 *
 *     node --conditions=@onnxformers/source --import tsx scripts/runner-benchmark.ts [cpu | cuda, default cpu] [rounds, default 60]
 */
import { performance } from 'node:perf_hooks';
import * as ort from 'onnxruntime-node';
import {
  type CompileOptions,
  compile,
  createRunner,
  type Feeds,
  initialize,
  type Model,
  module,
  type Ort,
  ops,
  type SequenceContext,
  type Tensor,
  targets,
  tensor,
  type Value,
  zoo,
} from '../packages/onnxformers/src/index';

const device = process.argv[2] === 'cuda' ? 'cuda' : 'cpu';
const rounds = Number(process.argv[3] ?? 60);
const dtype = device === 'cuda' ? 'float16' : 'float32';
const machine = { runtime: '1.30.0', sm: 90 };

interface Case {
  readonly name: string;
  readonly model: (o: Pick<CompileOptions, 'target' | 'dtype' | 'machine'>) => Model;
  readonly feeds: Feeds;
}

/** Ids and channels that differ from one another. */
const idsOf = (...dims: number[]): Tensor =>
  tensor(
    'int64',
    dims,
    Array.from({ length: count(dims) }, (_, i) => (i * 7919) % 509),
  );
const count = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);
const ones = (dims: readonly number[]): Tensor => tensor('bool', dims, new Uint8Array(count(dims)).fill(1));
/** Lengths from 37 to 509, as many as make `total`. */
function lengthsOf(total: number): number[] {
  const lengths: number[] = [];
  for (let left = total; left > 0; left -= lengths.at(-1)!) lengths.push(Math.min(left, 37 + ((lengths.length * 211) % 473)));
  return lengths;
}

const layer = { name: 'pre_norm', mixer: { name: 'multi_head', heads: 4 }, feedforward: { name: 'mlp', hidden: 256 } } as const;
const encoder = (depth: number) =>
  zoo.build('model', {
    name: 'encoder',
    dim: 128,
    embedding: { name: 'token', vocabSize: 509 },
    stack: { name: 'stack', depth, layers: layer, norm: 'layer_norm' },
  } as never);

function decodingStep(): Case {
  const m = zoo.build('model', {
    name: 'causal_lm',
    dim: 256,
    vocabSize: 509,
    embedding: 'token',
    stack: {
      name: 'stack',
      depth: 24,
      norm: 'rms_norm',
      layers: {
        name: 'pre_norm',
        norm: 'rms_norm',
        mixer: { name: 'multi_head', heads: 4, kvHeads: 2, bias: false, rotaryEmbedding: 'rotary' },
        feedforward: { name: 'glu', hidden: 512, bias: false },
      },
    },
  } as never);
  const kept = () =>
    ({
      dtype,
      dims: [1, 2, 251, 64],
      data: dtype === 'float16' ? new Uint16Array(2 * 251 * 64) : new Float32Array(2 * 251 * 64),
    }) as Tensor;
  const past = Array.from(
    { length: 24 },
    (_, i) =>
      [
        [`past_key_values.${i}.key`, kept()],
        [`past_key_values.${i}.value`, kept()],
      ] as const,
  ).flat();
  return {
    name: 'a decoding step: one token, 24 layers of keys and values',
    model: (o) =>
      compile(m, { ...o, state: 'io', inputs: { ids: ['int64', ['batch', 'seq']] }, weights: initialize(m, { seed: 3 }) }),
    feeds: { ids: idsOf(1, 1), ...Object.fromEntries(past) },
  };
}

function paddedBatch(): Case {
  const m = encoder(2);
  return {
    name: 'a padded batch: 16 sequences of 127 tokens, lengths',
    model: (o) =>
      compile(m, {
        ...o,
        inputs: { ids: ['int64', ['batch', 'seq']], lengths: ['int64', ['batch']] },
        weights: initialize(m, { seed: 3 }),
      }),
    feeds: {
      ids: idsOf(16, 127),
      lengths: tensor(
        'int64',
        [16],
        Array.from({ length: 16 }, (_, i) => 127 - 7 * i),
      ),
    },
  };
}

// On the CPU packed attention makes a mask of all pairs, so that only what is done row by row can be run on so many.
function packedBatch(): Case {
  const total = 17_267;
  const lengths = lengthsOf(total);
  const whole = encoder(2);
  const parts = {
    embed: zoo.build('embedding', { name: 'token', dim: 32, vocabSize: 509 } as never),
    position: zoo.build('position', { name: 'sine', dim: 32 } as never),
  };
  const rows = module(parts, ({ ids }: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({
    y: parts.position(parts.embed(ids!, ctx) as Value, ctx),
  }));
  const m = device === 'cuda' ? whole : rows;
  return {
    name: `a packed batch: ${total.toLocaleString('en')} tokens of ${lengths.length} sequences`,
    model: (o) => {
      const of = o.target.name === 'cuda' ? whole : m;
      return compile(of as never, {
        ...o,
        layout: 'packed',
        inputs: { ids: ['int64', ['tokens']], lengths: ['int64', ['batch']] },
        weights: initialize(of as never, { seed: 3 }),
      });
    },
    feeds: { ids: idsOf(total), lengths: tensor('int64', [lengths.length], lengths) },
  };
}

function allMasks(): Case {
  const [batch, seq, memory, dim] = [7, 61, 53, 64];
  const m = zoo.build('model', {
    name: 'decoder',
    dim,
    stack: {
      name: 'stack',
      depth: 2,
      norm: 'layer_norm',
      layers: {
        name: 'pre_norm',
        mixer: { name: 'multi_head', heads: 4 },
        cross: { name: 'multi_head', heads: 4, cross: true },
        feedforward: { name: 'mlp', hidden: 128 },
      },
    },
  } as never);
  return {
    name: 'all masks: attention_mask, mask, bias, memory_mask',
    model: (o) =>
      compile(m, {
        ...o,
        weights: initialize(m, { seed: 3 }),
        assumptions: ['no empty sequences'],
        inputs: {
          x: ['float32', ['batch', 'seq', dim]],
          attention_mask: ['bool', ['batch', 'seq']],
          pairs: ['bool', ['batch', 1, 'seq', 'seq'], 'denseMask'],
          attention_bias: ['float32', [1, 4, 'seq', 'seq'], 'attentionBias'],
          memory: ['float32', ['batch', 'memory_seq', dim]],
          memory_mask: ['bool', ['batch', 'memory_seq']],
        },
      }),
    feeds: {
      x: tensor('float32', [batch, seq, dim], new Float32Array(batch * seq * dim).fill(0.5)),
      attention_mask: ones([batch, seq]),
      pairs: ones([batch, 1, seq, seq]),
      attention_bias: tensor('float32', [1, 4, seq, seq], new Float32Array(4 * seq * seq)),
      memory: tensor('float32', [batch, memory, dim], new Float32Array(batch * memory * dim).fill(0.25)),
      memory_mask: ones([batch, memory]),
    },
  };
}

// Almost no work for the session: what remains is the copy of a plain feed.
function largeFeed(): Case {
  const [rows, columns] = [16_384, 1024];
  const m = module({}, ({ x }: Readonly<Record<string, Value>>) => ({
    y: ops.slice(x!, { axes: [0], starts: [0], ends: [1] }),
  }));
  return {
    name: 'a feed of 67 MB',
    model: (o) => compile(m, { ...o, inputs: { x: ['float32', ['rows', columns]] } }),
    feeds: { x: tensor('float32', [rows, columns], new Float32Array(rows * columns).fill(0.5)) },
  };
}

/** The runtime with a session that can be watched. */
function watched() {
  const seen: { session?: ort.InferenceSession; feeds?: never; fetches?: never } = {};
  const runtime = {
    ...ort,
    InferenceSession: {
      async create(...args: [never, never]) {
        const session: ort.InferenceSession = await ort.InferenceSession.create(...args);
        seen.session = session;
        const run = (feeds: never, fetches: never, o: never) => {
          seen.feeds = feeds;
          seen.fetches = fetches;
          return session.run(feeds, fetches, o);
        };
        return { inputNames: session.inputNames, outputNames: session.outputNames, run, release: () => session.release() };
      },
    },
  } as unknown as Ort;
  return { runtime, seen };
}

/** A runtime whose sessions answer at once. */
function atOnce(model: Model): Ort {
  const outputs = Object.fromEntries(
    model.signature.outputs.map(({ name, dtype: type }) => [
      name,
      new ort.Tensor(type as never, tensor(type, [0], []).data as never, [0]),
    ]),
  );
  const InferenceSession = {
    create: async () => ({
      inputNames: model.signature.inputs.map(({ name }) => name),
      outputNames: Object.keys(outputs),
      run: async () => outputs,
      release: async () => {},
    }),
  };
  return { ...ort, InferenceSession } as unknown as Ort;
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;
async function milliseconds(f: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await f();
  return performance.now() - start;
}

/** Medians of the runs 101 to 300, which JavaScript engines have hardly compiled, and 1,001 to 3,000. */
async function alone({ model, feeds }: Case): Promise<{ readonly early: number; readonly late: number }> {
  const compiled = model({ target: targets.cuda, dtype, machine });
  const run = await createRunner(compiled, atOnce(compiled));
  const times: number[] = [];
  for (let i = 0; i < 3000; i++) times.push(await milliseconds(() => run(feeds)));
  return { early: median(times.slice(100, 300)), late: median(times.slice(1000)) };
}

async function compared({ model, feeds }: Case): Promise<{ readonly bare: number; readonly runner: number }> {
  const { runtime, seen } = watched();
  const run = await createRunner(model({ target: targets[device], dtype, machine }), runtime);
  const [bare, ours]: [number[], number[]] = [[], []];
  await run(feeds);
  const given = seen.feeds!;
  for (let i = 0; i < rounds + 5; i++) {
    const [a, b] = [await milliseconds(() => seen.session!.run(given, seen.fetches!)), await milliseconds(() => run(feeds))];
    if (i < 5) continue;
    bare.push(a);
    ours.push(b);
  }
  await run.dispose();
  return { bare: median(bare), runner: median(ours) };
}

console.log(
  `onnxruntime-node ${ort.env.versions.node}, ${device}, ${dtype}, Node ${process.versions.node}, medians of ${rounds}`,
);
console.log('| case | session, ms | runner, ms | ratio | JavaScript of a runner (model for cuda), ms | its first runs, ms |');
console.log('| --- | --- | --- | --- | --- | --- |');
for (const of of [decodingStep(), paddedBatch(), packedBatch(), allMasks(), largeFeed()]) {
  const { bare, runner } = await compared(of);
  const { early, late } = await alone(of);
  const columns = [bare.toFixed(2), runner.toFixed(2), (runner / bare).toFixed(2), late.toFixed(3), early.toFixed(3)];
  console.log(`| ${of.name} | ${columns.join(' | ')} |`);
}
