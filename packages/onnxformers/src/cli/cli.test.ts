import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  compile,
  createRunner,
  explain,
  initialize,
  printExplanation,
  printSummary,
  summary,
  targets,
  tensor,
  toArray,
} from '@onnxformers/core';
import { load, openWeights, saveSafetensors } from '@onnxformers/core/node';
import * as ort from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { zoo } from '../index';
import { inputsOf } from '../inputs';
import { start } from './start';

const main = fileURLToPath(new URL('./main.ts', import.meta.url));
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cli-'));
});
afterAll(() => rm(dir, { recursive: true }));

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The command line as a process of its own, in the temporary folder. */
function cli(...args: string[]): Promise<Said> {
  const tsx = import.meta.resolve('tsx');
  const flags = ['--conditions=@onnxformers/source', '--import', tsx];
  return new Promise((resolve) => {
    execFile(process.execPath, [...flags, main, ...args], { cwd: dir, timeout: 55_000 }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}
/** The same in this process. */
async function here(...args: string[]): Promise<Said> {
  let [out, err] = ['', ''];
  const code = await start(args, { write: (t) => (out += t) }, { write: (t) => (err += t) });
  return { code, out, err };
}
const parsed = async (...args: string[]) => {
  const { code, out } = await cli(...args, '--json');
  const json = JSON.parse(out);
  return code === 0 ? { code, json, error: '' } : { code, json: '', error: json };
};
const write = (name: string, content: unknown) =>
  writeFile(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));

const lm = {
  name: 'causal_lm',
  dim: 12,
  vocabSize: 23,
  embedding: 'token',
  stack: {
    name: 'stack',
    depth: 2,
    layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp', norm: 'layer_norm' },
    norm: 'layer_norm',
  },
} as const;
const ids = tensor('int64', [2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);

describe('usage', () => {
  it('without a command: all of them', async () => {
    const { code, out } = await cli();
    expect(code).toBe(0);
    for (const name of [
      'info',
      'build CONFIG',
      'explain CONFIG|DIR',
      'summary CONFIG|DIR',
      'inspect FILE',
      'run DIR',
      'schema KIND',
      'bench attention|block',
    ])
      expect(out).toContain(`  ${name} `);
    expect(out).toContain(
      'Exit codes: 0 done, 1 an error of the input, 2 a wrong command line, 70 a fault of onnxformers, 128 + N ended by signal N.',
    );
  });

  it.each([
    [['bild'], 'there is no command "bild"; did you mean build? Commands: info, build'],
    [['build'], 'build needs CONFIG'],
    [['build', 'a.json', 'b.json', '--out', 'x'], 'build takes CONFIG; "b.json" is too much'],
    [['build', 'a.json', '--seed', '1'], '--out is needed: the folder to save to'],
    [['build', 'a.json', '--out', 'x', '--targt', 'cpu'], 'build has no option --targt; did you mean target?'],
    [
      ['build', 'a.json', '--out', 'x', '--target', 'cud'],
      '--target is one of cpu, cuda, webgpu, wasm, portable-18, portable-21, portable-23, portable, not "cud"; did you mean cuda?',
    ],
    [['build', 'a.json', '--out', 'x', '--seed', 'one'], '--seed is a whole number, not "one"'],
    [['build', 'a.json', '--out', '--seed', '1'], '--out needs a value (DIR)'],
    [['build', 'a.json', '--out', '', '--seed', '1'], '--out is empty'],
    [['bench', 'nothing'], 'bench measures attention or block, not "nothing"'],
    [['bench', 'block'], 'bench block needs CONFIG'],
    [['bench', 'attention', '--few', '0'], '--few, --more and --repetitions are at least 1'],
    [['inspect', 'x', '--json=yes'], '--json takes no value'],
  ])('wrong: %j', async (args, message) => {
    const { code, out, err } = await here(...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
    expect(err).toMatch(/onnxformers \w* ?--help says more\.\n$/);
  });

  it('help of a command lists its options', async () => {
    const { code, out } = await cli('build', '--help');
    expect(code).toBe(0);
    expect(out).toMatch(/--out DIR +the folder to save to \(needed\)/);
    expect(out).toMatch(/--dtype NAME +of weights and arithmetic: float32, float16, bfloat16 \(default float32\)/);
    expect((await here('help', 'build')).out).toBe(out);
    expect((await cli('build')).code).toBe(2);
  });
});

describe('errors', () => {
  it('of the input are told without a stack, and end with 1', async () => {
    await write('bad.json', { ...lm, dim: 'x' });
    const { code, err } = await cli('build', 'bad.json', '--seed', '1', '--out', 'bad');
    expect(code).toBe(1);
    expect(err).toBe('ConfigError: causal_lm.dim: wrong value; expected an integer >= 1, got "x". It means: channels\n');
    expect(await readdir(dir)).not.toContain('bad');
  });

  it('with --debug show where', async () => {
    const { code, err } = await cli('inspect', 'nowhere.onnx', '--debug');
    expect(code).toBe(1);
    expect(err).toMatch(/^FileError: nowhere\.onnx: no such file or folder\nFileError: .*\n +at /);
  });

  it('are JSON with --json', async () => {
    const { code, error } = await parsed('schema', 'modle');
    expect(code).toBe(1);
    expect(error).toMatchObject({
      exitCode: 1,
      error: { name: 'ConfigError', path: 'kind', problem: 'no block of the kind "modle" is registered', got: '"modle"' },
    });
    expect(error.error.hint).toContain('Did you mean "model"?');
  });

  it('of our own end with 70', async () => {
    const out = {
      write: () => {
        throw new TypeError('broken');
      },
    };
    let said = '';
    const err = {
      write: (text: string) => {
        said += text;
      },
    };
    expect(await start(['schema', 'norm'], out, err)).toBe(70);
    expect(said).toBe('A fault of onnxformers: broken\nRun it again with --debug and report what it prints.\n');
  });
});

describe.skipIf(process.platform === 'win32')('what a shell does (not on Windows, which has no signals)', () => {
  const running = (...args: string[]) => {
    const flags = ['--conditions=@onnxformers/source', '--import', import.meta.resolve('tsx')];
    const child = spawn(process.execPath, [...flags, main, ...args], { cwd: dir });
    let err = '';
    child.stderr.on('data', (text) => {
      err += text;
    });
    const ended = new Promise<{ code: number | null; err: string }>((resolve) => {
      child.on('close', (code) => resolve({ code, err }));
    });
    return { child, ended };
  };

  it('Ctrl-C while a model is saved leaves nothing half-written', async () => {
    await write('big.json', { ...lm, dim: 768, vocabSize: 30_011 });
    const { child, ended } = running('build', 'big.json', '--seed', '1', '--out', 'big');
    const saving = async () => (await readdir(join(dir, 'big')).catch(() => [])).some((name) => name.startsWith('.saving'));
    while (child.exitCode === null && !(await saving())) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGINT');
    expect(await ended).toEqual({ code: 130, err: 'Interrupted: ended by SIGINT; nothing half-written is left\n' });
    expect(await readdir(dir)).not.toContain('big');
  });

  it('a reader that has seen enough is no fault', async () => {
    const { child, ended } = running('schema', 'model');
    child.stdout.destroy();
    expect(await ended).toEqual({ code: 0, err: '' });
  });
});

describe('a model', () => {
  it('is built from drawn weights, inspected, run, and gives what the API gives', async () => {
    await write('lm.json', lm);
    const built = await parsed('build', 'lm.json', '--seed', '7', '--out', 'lm');
    expect(built.code).toBe(0);
    expect(built.json).toMatchObject({
      out: 'lm',
      target: 'cpu',
      dtype: 'float32',
      inputs: [{ name: 'ids', dtype: 'int64', dims: ['batch', 'seq'] }],
      outputs: [{ name: 'logits', dtype: 'float32', dims: ['batch', 'seq', 23] }],
    });
    expect((await readdir(join(dir, 'lm'))).sort()).toEqual(['model.onnx', 'onnxformers.json', 'weights.bin']);

    const seen = await cli('inspect', 'lm');
    expect(seen.out).toContain('com.microsoft.MultiHeadAttention');
    expect(seen.out).toMatch(/logits +float32\[batch, seq, 23\]/);

    await saveSafetensors(join(dir, 'x.safetensors'), new Map([['ids', ids]]));
    const ran = await parsed('run', 'lm', '--inputs', 'x.safetensors', '--out', 'y.safetensors');
    expect(ran.json).toMatchObject({
      device: 'cpu',
      runtime: 'onnxruntime-node',
      outputs: [{ name: 'logits', dtype: 'float32', dims: [2, 5, 23] }],
    });
    const y = await (await openWeights(join(dir, 'y.safetensors'))).get('logits')!.load();
    const m = zoo.build('model', lm);
    const model = compile(m, { target: targets.cpu, inputs: inputsOf(m), weights: initialize(m, { seed: 7 }) });
    const { logits } = await (await createRunner(model, ort))({ ids });
    expect([...toArray(y).data]).toEqual([...toArray(logits!).data]);

    // The same folder on the runtime of browsers.
    const web = await parsed(
      'run',
      'lm',
      '--inputs',
      'x.safetensors',
      '--out',
      'w.safetensors',
      '--runtime',
      'onnxruntime-web',
      '--device',
      'wasm',
    );
    expect(web.json).toMatchObject({ device: 'wasm', runtime: 'onnxruntime-web' });
  });

  it('is built from a checkpoint, for another target and dtype, with caches and taps', async () => {
    await write('lm.json', lm);
    const m = zoo.build('model', lm);
    const weights = initialize(m, { seed: 3 });
    await saveSafetensors(join(dir, 'lm.safetensors'), weights);
    const options = ['--target', 'portable-18', '--dtype', 'float16', '--state', '11', '--taps', 'stack.layers.0,embedding'];
    const built = await parsed('build', 'lm.json', '--weights', 'lm.safetensors', '--out', 'lm16', ...options);
    expect(built.error).toBe('');
    expect(built.json.inputs.map((p: { name: string }) => p.name)).toEqual(
      expect.arrayContaining(['ids', 'held', 'past_key_values.0.key']),
    );
    expect(built.json.outputs.map((p: { name: string }) => p.name)).toEqual(
      expect.arrayContaining(['logits', 'stack.layers.0', 'embedding']),
    );
    const loaded = await load(join(dir, 'lm16'));
    expect([loaded.target, loaded.dtype, loaded.config]).toEqual(['portable-18', 'float16', zoo.toJSON(m)]);
    const missing = new Map([...weights].slice(1));
    await saveSafetensors(join(dir, 'less.safetensors'), missing);
    const less = await cli('build', 'lm.json', '--weights', 'less.safetensors', '--out', 'less');
    expect([less.code, less.err]).toEqual([
      1,
      expect.stringContaining('WeightError: weight "embedding.weight": missing; expected dims [23, 12], got nothing'),
    ]);
  });

  it('needs weights', async () => {
    await write('lm.json', lm);
    expect((await here('build', join(dir, 'lm.json'), '--out', 'z')).err).toContain(
      'build needs weights: --weights FILE for a checkpoint, or --seed N to draw them',
    );
    expect((await here('build', join(dir, 'lm.json'), '--out', 'z', '--seed', '1', '--weights', 'w')).err).toContain(
      'build takes --weights or --seed, not both',
    );
  });

  it('is run on what it takes', async () => {
    await write('lm.json', lm);
    await cli('build', 'lm.json', '--seed', '7', '--out', 'small');
    await saveSafetensors(join(dir, 'wrong.safetensors'), new Map([['tokens', ids]]));
    const { code, err } = await cli('run', 'small', '--inputs', 'wrong.safetensors', '--out', 'y.safetensors');
    expect([code, err]).toEqual([1, 'FeedError: feed "tokens": the model has no such input; got "tokens". Inputs: ids\n']);
    const other = await cli('run', 'small', '--inputs', 'wrong.safetensors', '--out', 'y.safetensors', '--device', 'nonsense');
    expect(other.err).toMatch(/^RunError: runtime: creating a session on nonsense failed; got no available backend found/);
  });
});

describe('explain', () => {
  it('says what was chosen for a config, as the API does', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('explain', 'lm.json', '--target', 'cuda', '--dtype', 'float16', '--sm', '90');
    const m = zoo.build('model', lm);
    const model = compile(m, { target: targets.cuda, machine: { sm: 90 }, dtype: 'float16', inputs: inputsOf(m) });
    expect(json).toEqual(JSON.parse(JSON.stringify(explain(model))));
    const { out } = await here('explain', join(dir, 'lm.json'), '--target', 'cuda', '--dtype', 'float16', '--sm', '90');
    expect(out).toBe(`${printExplanation(explain(model))}\n`);
    expect(out).toContain('→ MultiHeadAttention');
  });

  it('says it of a saved model, caches, taps and all, and of another target', async () => {
    await write('lm.json', lm);
    const options = ['--state', '11', '--taps', 'stack.layers.0', '--promises', 'whole prompts'];
    const saved = join(dir, 'saved');
    await here('build', join(dir, 'lm.json'), '--seed', '1', '--out', saved, ...options);
    const of = async (...args: string[]) => (await here('explain', ...args)).out;
    expect(await of(saved)).toBe(await of(join(dir, 'lm.json'), ...options));
    expect(await of(saved, '--target', 'wasm')).toBe(await of(join(dir, 'lm.json'), ...options, '--target', 'wasm'));
    expect(await of(saved, '--target', 'wasm')).toContain('lowered for wasm, float32');
  });

  it('keeps to a path', async () => {
    await write('lm.json', lm);
    const { out } = await here('explain', join(dir, 'lm.json'), '--path', 'stack.norm');
    expect(out).toContain('stack.norm');
    expect(out).not.toContain('mixer');
  });
});

describe('summary', () => {
  it('counts for given sizes, as the API does', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('summary', 'lm.json', '--size', 'batch=2,seq=7');
    const m = zoo.build('model', lm);
    const model = compile(m, { target: targets.cpu, inputs: inputsOf(m) });
    expect(json).toEqual(JSON.parse(JSON.stringify(summary(model, { batch: 2, seq: 7 }))));
    expect((await here('summary', join(dir, 'lm.json'))).out).toBe(`${printSummary(summary(model, { batch: 1, seq: 128 }))}\n`);
  });

  it('refuses sizes that are none', async () => {
    await write('lm.json', lm);
    const sizes = (text: string) => here('summary', join(dir, 'lm.json'), '--size', text);
    expect(await sizes('seq')).toMatchObject({
      code: 2,
      err: expect.stringContaining('--size is a list such as batch=2,seq=128, not "seq"'),
    });
    expect(await sizes('seqq=3')).toMatchObject({ code: 1, err: expect.stringMatching(/^ConfigError: .*seqq/) });
  });
});

describe('config files', () => {
  it('may say the kind and the inputs', async () => {
    await write('attention.json', {
      kind: 'attention',
      config: { name: 'scaled_dot_product' },
      inputs: Object.fromEntries(['q', 'k', 'v'].map((name) => [name, ['float32', ['batch', 4, 'seq', 8]]])),
    });
    const { json } = await parsed('build', 'attention.json', '--seed', '0', '--out', 'attention');
    expect(json.outputs).toEqual([{ name: 'y', dtype: 'float32', dims: ['batch', 4, 'seq', 8] }]);
  });

  it.each([
    ['{', 'c.json: not JSON; got '],
    [[1], 'ConfigError: config: not a config; expected an object with the name of a block, got [1]'],
    [
      { config: lm, input: {} },
      'ConfigError: input: unknown key "input" beside the config; got an object with no keys. Did you mean "inputs"?',
    ],
    [
      { config: lm, inputs: { ids: ['int46', ['batch']] } },
      'ConfigError: inputs.ids: no such dtype; expected one of float64, float32',
    ],
    [{ config: lm, inputs: { ids: 'int64' } }, 'ConfigError: inputs.ids: not an input; expected a dtype and dims, such as'],
    [{ config: lm, kind: 'modell' }, 'ConfigError: kind: no such kind; expected one of '],
    [
      { name: 'causal_ml' },
      'ConfigError: model.name: no model block is called "causal_ml"; got "causal_ml". Did you mean "causal_lm"?',
    ],
    [{ name: 'scaled_dot_product' }, 'ConfigError: inputs: the config does not tell the sizes of the inputs'],
    [{ name: 'identity' }, 'ConfigError: kind: several blocks are called "identity"; expected a kind: activation or norm'],
    [{ config: lm, layout: 'dense' }, 'ConfigError: layout: wrong value; expected "padded" or "packed", got "dense"'],
  ])('%j', async (config, message) => {
    await write('c.json', config);
    const { code, err } = await here('build', join(dir, 'c.json'), '--seed', '0', '--out', join(dir, 'c'));
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
  });
});

describe('inputs of a config', () => {
  const layer = {
    name: 'pre_norm',
    dim: 12,
    norm: 'layer_norm',
    mixer: { name: 'multi_head', heads: 3 },
    feedforward: 'mlp',
  } as const;
  const stack = { name: 'stack', dim: 12, depth: 1, layers: layer } as const;
  const cross = { ...layer, cross: { name: 'multi_head', heads: 3, cross: true, memoryDim: 20 } } as const;
  it.each([
    ['with an embedding', zoo.build('model', lm), { ids: ['int64', ['batch', 'seq']] }],
    ['without one', zoo.build('model', { name: 'encoder', dim: 12, stack }), { x: ['float32', ['batch', 'seq', 12]] }],
    [
      'that attends to a memory',
      zoo.build('model', { name: 'decoder', dim: 12, stack: { ...stack, layers: cross } }),
      { x: ['float32', ['batch', 'seq', 12]], memory: ['float32', ['batch', 'memory_seq', 20]] },
    ],
    [
      'of two sequences',
      zoo.build('model', {
        name: 'encoder_decoder',
        dim: 12,
        encoder: { name: 'encoder', embedding: { name: 'token', vocabSize: 5 }, stack },
        decoder: { name: 'decoder', stack },
      }),
      { ids: ['int64', ['batch', 'seq']], decoder_x: ['float32', ['batch', 'decoder_seq', 12]] },
    ],
    ['that is one layer', zoo.build('layer', layer), { x: ['float32', ['batch', 'seq', 12]] }],
    ['that is an activation', zoo.build('activation', 'gelu'), { x: ['float32', ['batch', 'seq', 'dim']] }],
  ])('%s', (_, module, inputs) => {
    expect(inputsOf(module as never)).toEqual(inputs);
    compile(module as never, { target: targets.portable(), inputs: inputsOf(module as never) });
  });
});

describe('info', () => {
  it('tries every provider, and says which work', async () => {
    const { code, json } = await parsed('info');
    expect(code).toBe(0);
    expect(json).toMatchObject({ node: process.versions.node, onnxformers: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(json.runtimes).toEqual([
      { name: 'onnxruntime-node', version: ort.env.versions.node },
      { name: 'onnxruntime-web', version: ort.env.versions.node },
    ]);
    const works = Object.fromEntries(json.providers.map((p: { provider: string; works: boolean }) => [p.provider, p.works]));
    expect(works).toMatchObject({ cpu: true, wasm: true });
    for (const p of json.providers) if (!p.works) expect(p.reason).not.toBe('');
    expect(json.targets.find((t: { name: string }) => t.name === 'cpu').fused).toContain('MultiHeadAttention');
    expect(json.targets.find((t: { name: string }) => t.name === 'portable-18').fused).toEqual([]);
  });

  it('says why a provider does not load', async () => {
    const { json } = await parsed('info', '--provider', 'nonsense');
    expect(json).toMatchObject({ runtime: 'onnxruntime-node', provider: 'nonsense', works: false });
    expect(json.reason).toContain('backend not found');
  });

  it('lists the kernels of a target', async () => {
    const { out } = await cli('info', '--target', 'wasm');
    expect(out).toMatch(/^ {2}com\.microsoft\.MultiHeadAttention +float32/m);
  });
});

it('schema prints the JSON Schema of a kind', async () => {
  expect((await parsed('schema', 'layer')).json).toEqual(zoo.jsonSchema('layer'));
});

describe('bench', () => {
  const few = ['--seq', '16', '--few', '1', '--more', '2', '--repetitions', '2'];

  it('measures an attention, and the same in primitive ops', async () => {
    const { json } = await parsed(
      'bench',
      'attention',
      ...few,
      '--heads',
      '4',
      '--kv-heads',
      '2',
      '--head-dim',
      '8',
      '--causal',
      '--vs',
      'decomposed',
    );
    expect(json).toMatchObject({
      what: 'attention',
      heads: 4,
      kvHeads: 2,
      headDim: 8,
      seq: 16,
      causal: true,
      dtype: 'float32',
      onnxruntime: ort.env.versions.node,
    });
    expect(json.flops).toBe(4 * 4 * 8 * 16 * 8);
    expect(json.rows.map((r: { name: string }) => r.name)).toEqual(['cpu', 'cpu, decomposed']);
    expect(json.rows[0].kernels.some((k: string) => /Attention/.test(k))).toBe(true);
    expect(json.rows[1].kernels).toContain('Softmax');
    for (const row of json.rows) expect([typeof row.median, typeof row.spread]).toEqual(['number', 'number']);
  });

  it('measures the block of a config', async () => {
    await write('layer.json', lm.stack.layers.mixer && { ...lm.stack.layers, dim: 12 });
    const { code, out } = await cli('bench', 'block', 'layer.json', ...few, '--target', 'wasm');
    expect(code).toBe(0);
    expect(out).toMatch(/kind layer · block pre_norm/);
    expect(out).toMatch(/^ {2}wasm +-?[\d.e-]+ +[\d.e-]+ +.*MultiHeadAttention/m);
  });

  it('refuses a block that does not give what it takes', async () => {
    await write('lm.json', lm);
    const { code, err } = await cli('bench', 'block', 'lm.json', ...few);
    expect([code, err]).toEqual([1, expect.stringContaining('ConfigError: causal_lm: it cannot stand in a chain')]);
  });
});

describe('progress', () => {
  const build = async (isTTY: boolean) => {
    await write('lm.json', lm);
    let [out, err] = ['', ''];
    const streams = [
      {
        write: (t: string) => {
          out += t;
        },
      },
      {
        isTTY,
        columns: 30,
        write: (t: string) => {
          err += t;
        },
      },
    ] as const;
    const code = await start(['build', join(dir, 'lm.json'), '--seed', '1', '--out', join(dir, 'progress')], ...streams);
    return { code, out, err };
  };

  it('is one line of a terminal that vanishes', async () => {
    const { code, out, err } = await build(true);
    expect(code).toBe(0);
    expect(err).toContain('compiling …');
    expect(err).toContain('saving');
    expect(err.endsWith('\r\u001b[K')).toBe(true);
    for (const line of err.split('\r\u001b[K')) expect(line.length).toBeLessThan(30);
    expect(out).not.toContain('\u001b');
  });

  it('is silent elsewhere', async () => {
    expect((await build(false)).err).toBe('');
  });
});
