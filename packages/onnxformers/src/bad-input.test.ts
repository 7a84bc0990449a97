// What people get wrong, from the config to the feeds: each a clear error of one of the seven classes.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { platform, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { load, openWeights, save } from '@onnxformers/core/node';
import fc from 'fast-check';
import * as ort from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseConfig } from './cli/config-file';
import {
  type AnyModule,
  type CompileOptions,
  ConfigError,
  compile,
  createRunner,
  FeedError,
  FileError,
  initialize,
  inputsOf,
  isModule,
  type LazyTensor,
  LoweringError,
  matmul,
  module,
  type OnnxformersError,
  preNorm,
  RunError,
  ShapeError,
  type Tensor,
  targets,
  tensor,
  type Value,
  WeightError,
  zoo,
} from './index';

// A file of this name in here is opened as /dev/full, where every write fails as on a full disk.
const full = new Set<string>();
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const open = (path: string, ...rest: never[]) =>
    full.has(basename(path)) ? real.open('/dev/full', 'w') : real.open(path, ...rest);
  return { ...real, open };
});

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bad-input-'));
});
afterAll(() => rm(dir, { recursive: true }));

type Kind = abstract new (...args: never[]) => OnnxformersError;
type Parts = Partial<Record<'path' | 'problem' | 'expected' | 'got' | 'hint', string | RegExp>>;

/** The error of f, which must be of the class and have these parts; its message must hold all of them. */
async function fails(f: () => unknown, kind: Kind, parts: Parts): Promise<void> {
  const error = await Promise.resolve()
    .then(f)
    .then(
      () => expect.unreachable('nothing was thrown'),
      (e: unknown) => e as OnnxformersError,
    );
  expect(error, String((error as Error).stack)).toBeInstanceOf(kind);
  for (const [name, wanted] of Object.entries(parts)) {
    const part = error[name as keyof Parts];
    if (typeof wanted === 'string') expect(part, name).toBe(wanted);
    else expect(part, name).toMatch(wanted);
    expect(error.message).toContain(part);
  }
}

const layer = { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp', norm: 'layer_norm' };
type Json = Record<string, unknown>;
/** A language model with something changed: `at` names the part, dotted. */
function lm(patch: Json = {}, at = ''): Json {
  const config: Json = {
    name: 'causal_lm',
    dim: 12,
    vocabSize: 23,
    embedding: 'token',
    stack: { name: 'stack', depth: 2, layers: structuredClone(layer), norm: 'layer_norm' },
  };
  const part = at ? at.split('.').reduce((c, key) => c[key] as Json, config) : config;
  Object.assign(part, patch);
  return config;
}
const build = (config: unknown, kind = 'model'): AnyModule => zoo.parse(kind as 'model', config) as unknown as AnyModule;
const compiled = (m: AnyModule, o: Partial<CompileOptions> = {}) =>
  compile(m, { target: targets.cpu, inputs: o.inputs ?? inputsOf(m), ...o });

describe('configs', () => {
  const mixer = 'stack.layers.mixer';
  it.each<[string, unknown, Parts]>([
    [
      'an unknown option',
      lm({ heds: 3 }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer (multi_head)',
        problem: 'unknown field "heds"',
        got: '"heds"',
        hint: /^Did you mean "heads"\? Fields: dim, heads, kvHeads, /,
      },
    ],
    [
      'a wrong value',
      lm({ heads: 'x' }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer (multi_head).heads',
        problem: 'wrong value',
        expected: 'an integer >= 1',
        got: '"x"',
        hint: 'It means: parallel heads',
      },
    ],
    ['a number that is none', lm({ dim: Number.NaN }), { path: 'causal_lm.dim', expected: 'an integer >= 1', got: 'NaN' }],
    ['an endless number', lm({ dim: Number.POSITIVE_INFINITY }), { path: 'causal_lm.dim', got: 'Infinity' }],
    ['half a head', lm({ heads: 1.5 }, mixer), { expected: 'an integer >= 1', got: '1.5' }],
    ['a number beyond all integers', lm({ dim: 2 ** 53 }), { path: 'causal_lm.dim', got: '9007199254740992' }],
    [
      'fewer than no layers',
      lm({ depth: -1 }, 'stack'),
      { path: 'causal_lm.stack (stack).depth', expected: /^an integer (>= 0|from 0)/, got: '-1' },
    ],
    [
      'more layers than can be made',
      lm({ depth: 1e9 }, 'stack'),
      { path: 'causal_lm.stack (stack).depth', expected: 'an integer from 0 to 10000', got: '1000000000' },
    ],
    [
      'an unknown name',
      lm({ name: 'multi_hed' }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer.name',
        problem: 'no mixer block is called "multi_hed"',
        got: '"multi_hed"',
        hint: /^Did you mean "multi_head"\? Registered: multi_head/,
      },
    ],
    [
      'a block of another kind',
      lm({ feedforward: 'multi_head' }, 'stack.layers'),
      { path: 'causal_lm.stack.layers[0].feedforward.name', hint: /^"multi_head" is a mixer\. Registered: mlp/ },
    ],
    [
      'a number in a slot',
      lm({ stack: 3 }),
      { path: 'causal_lm.stack', problem: 'not a config', expected: 'a stack config with a name', got: '3' },
    ],
    ['a slot without a name', lm({ stack: { depth: 2 } }), { path: 'causal_lm.stack', got: 'an object with depth' }],
    [
      'a missing field',
      lm({ vocabSize: undefined }),
      {
        path: 'causal_lm.vocabSize',
        problem: 'missing',
        expected: 'an integer >= 1',
        got: 'nothing',
        hint: /^Give vocabSize here or in an enclosing block/,
      },
    ],
    [
      'a missing block',
      lm({ stack: undefined }),
      {
        path: 'causal_lm.stack',
        problem: 'missing',
        expected: 'a stack',
        got: 'nothing',
        hint: 'Give it a name or a config (the layers)',
      },
    ],
    [
      'heads that do not divide the channels',
      lm({ heads: 5 }, mixer),
      {
        path: 'causal_lm.stack.layers[0].mixer (multi_head).heads',
        problem: 'the channels cannot be shared out evenly',
        expected: 'a divisor of dim = 12',
        got: '5',
        hint: 'Or give headDim',
      },
    ],
    ['key heads that do not divide the heads', lm({ kvHeads: 2 }, mixer), { expected: 'a divisor of heads = 3', got: '2' }],
    [
      'a list of too few layers',
      lm({ layers: [layer] }, 'stack'),
      {
        path: 'causal_lm.stack.layers[1]',
        problem: 'no config for layer 1',
        expected: 'a list of at least 2',
        got: 'a list of 1',
      },
    ],
    ['no config', 3, { path: 'model', problem: 'not a config', expected: 'an object with the name of a model', got: '3' }],
  ])('%s', (_, config, parts) => fails(() => build(config), ConfigError, parts));

  it('an unknown kind', () =>
    fails(() => build(lm(), 'modle'), ConfigError, {
      path: 'kind',
      problem: 'no block of the kind "modle" is registered',
      got: '"modle"',
      hint: /^Did you mean "model"\? Kinds: attention, /,
    }));

  it('circular slots', async () => {
    const self: Json = { name: 'encoder', dim: 3 };
    self.stack = { name: 'stack', depth: 1, layers: self };
    const hint = 'A config is a tree; write the inner part as an object of its own';
    await fails(() => build(self), ConfigError, { path: 'encoder.stack.layers', problem: 'the config contains itself', hint });
    let deep: Json = lm();
    for (let i = 0; i < 5000; i++) deep = { name: 'encoder_decoder', dim: 3, encoder: deep };
    await fails(() => build(deep), ConfigError, {
      path: /^encoder_decoder(\.encoder)+\.enco…$/,
      problem: 'more than 100 blocks inside each other',
    });
    // The same part in two places is no circle.
    const norm = { name: 'layer_norm' };
    build(lm({ norm, embeddingNorm: norm }, 'stack') && lm({ embeddingNorm: norm }));
  });

  it('one module for several layers, or of another kind', async () => {
    const one = zoo.build('layer', { ...layer, dim: 12 } as never);
    const stack = (layers: unknown) => () => zoo.build('stack', { name: 'stack', dim: 12, depth: 2, layers } as never);
    await fails(stack(one), ConfigError, {
      path: 'stack.layers[1]',
      problem: 'one module was given for several layers',
      got: 'a layer module "pre_norm"',
    });
    const norm = zoo.build('norm', { name: 'layer_norm', dim: 12 });
    await fails(
      stack(() => norm),
      ConfigError,
      { path: 'stack.layers[0]', problem: 'a module of another kind', expected: 'a layer', got: 'a norm module "layer_norm"' },
    );
    await fails(() => preNorm({ dim: 12, mixer: 'multi_head', norm: 'layer_norm' } as never), ConfigError, {
      path: 'pre_norm.mixer',
      problem: '"multi_head" cannot be looked up, since the block was called by hand',
      hint: 'Build the config with a registry, or pass a module: multi_head({ … })',
    });
  });
});

describe('dims', () => {
  it('that disagree', async () => {
    const m = build(lm({ feedforward: { name: 'mlp', dim: 9 } }, 'stack.layers'));
    await fails(() => compiled(m), ShapeError, {
      path: 'onnxformers.Linear in stack.layers.0.feedforward.up',
      problem: 'the weight takes 9 channels',
      expected: '9 in the last axis of x',
      got: 'float32[batch, seq, 12]',
      hint: /^Operands: float32\[batch, seq, 12\], float32\[36, 9\]/,
    });
  });

  it('of inputs that do not fit', async () => {
    const m = build({ name: 'mlp', dim: 12 }, 'feedforward');
    await fails(() => compiled(m, { inputs: { x: ['float32', ['batch', 'seq', 11]] } }), ShapeError, {
      got: 'float32[batch, seq, 11]',
    });
    await fails(() => compiled(build(lm()), { inputs: { x: ['float32', ['batch', 12]] } }), ConfigError, {
      path: 'inputs',
      problem: 'the model has nothing to read',
      got: 'x',
    });
  });
});

describe('dtypes', () => {
  it('that no runtime carries', () =>
    fails(() => compiled(build({ name: 'mlp', dim: 3 }, 'feedforward'), { inputs: { x: ['bfloat16', ['n', 3]] } }), ConfigError, {
      path: 'inputs.x',
      problem: 'no JavaScript runtime carries bfloat16',
      expected: 'float32',
      got: 'bfloat16',
      hint: 'Declare float32; it is cast inside the graph',
    }));

  it('in which a target does not compute', () =>
    fails(() => compiled(build(lm()), { dtype: 'bfloat16', strictDtype: true }), LoweringError, {
      path: 'cpu',
      problem: 'cpu does not compute in bfloat16',
      expected: /float32/,
      got: 'bfloat16',
      hint: 'Leave strictDtype off to store the weights in it and compute in float32',
    }));

  it('for which a target has no kernel', async () => {
    const product = module({}, ({ x }: Record<string, Value>) => ({ y: matmul(x!, x!) }));
    await fails(() => compiled(product, { target: targets.wasm, inputs: { x: ['int16', [3, 3]] } }), LoweringError, {
      problem: /MatMul/,
      got: /int16/,
    });
  });
});

describe('weights', () => {
  const m = build(lm());
  const weights = initialize(m, { seed: 1 });
  const with1 = (name: string, t: unknown) =>
    compiled(m, { weights: new Map<string, Tensor | LazyTensor>([...weights, [name, t as Tensor]]) });
  const path = 'weight "embedding.weight"';

  it('of other dims', () =>
    fails(() => with1('embedding.weight', tensor('float32', [3], [1, 2, 3])), WeightError, {
      path,
      problem: 'does not fit',
      expected: 'dims [23, 12]',
      got: '[3]',
    }));
  it('of another sort of number', () =>
    fails(() => with1('embedding.weight', tensor('int64', [23, 12], new Array(276).fill(1))), WeightError, {
      path,
      expected: 'float32',
      got: 'int64',
    }));
  it('that are missing', () =>
    fails(() => compiled(m, { weights: new Map([...weights].slice(1)) }), WeightError, {
      path,
      problem: 'missing',
      expected: 'dims [23, 12]',
      got: 'nothing',
      hint: /^Give it/,
    }));
  it('that are unknown', () =>
    fails(() => with1('embeding.weight', tensor('float32', [1], [1])), WeightError, {
      path: 'weight "embeding.weight"',
      problem: 'unknown; the model has no weight of that name',
      hint: 'Did you mean "embedding.weight"?',
    }));
  it('that are not what they said', () =>
    fails(
      () =>
        save(
          with1('embedding.weight', () => tensor('float32', [3], [1, 2, 3])),
          join(dir, 'lying'),
        ),
      WeightError,
      { path, expected: 'dims [23, 12]', got: '[3]' },
    ));
  it('that hold too little', () =>
    fails(
      () => save(with1('embedding.weight', { dtype: 'float32', dims: [23, 12], data: new Float32Array(5) }), join(dir, 'short')),
      WeightError,
      {
        path,
        expected: '1104 bytes',
        got: '20',
      },
    ));
  it('that nobody gave', () =>
    fails(() => save(compiled(m), join(dir, 'none')), WeightError, {
      path,
      problem: 'the model was compiled without weights',
      hint: 'Give compile() the weights, or initialize(module)',
    }));
  it('of a scheme or seed that is none', async () => {
    await fails(() => initialize(m, { scheme: 'vti' as never }), ConfigError, {
      path: 'scheme',
      got: '"vti"',
      hint: 'Did you mean "vit"?',
    });
    await fails(() => initialize(m, { seed: 1.5 }), ConfigError, {
      path: 'seed',
      expected: 'an integer from 0 to 2^53 - 1',
      got: '1.5',
    });
  });
});

describe('safetensors', () => {
  /** The bytes of a file with this header. */
  function bytes(header: unknown, data = 0, length?: bigint): Uint8Array {
    const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
    const all = new Uint8Array(8 + text.length + data);
    new DataView(all.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
    all.set(text, 8);
    return all;
  }
  const entry = (shape: number[], from: number, to: number, dtype = 'F32') => ({ dtype, shape, data_offsets: [from, to] });

  it.each<[string, Uint8Array, Kind, Parts]>([
    [
      'an empty file',
      new Uint8Array(0),
      FileError,
      { problem: 'too short for a safetensors file', expected: 'at least 8 bytes', got: '0' },
    ],
    [
      'a header cut off',
      bytes('{"a":', 0, 20n),
      FileError,
      {
        problem: 'the file ends within its header',
        expected: 'a header of 20 bytes',
        got: '5',
        hint: 'It may be cut off; fetch it again',
      },
    ],
    [
      'a header that is too long',
      bytes({}, 0, 2n ** 60n),
      FileError,
      { problem: 'the header is said to be too long', got: '1152921504606846976' },
    ],
    ['a header that is no JSON', bytes('{"a":'), FileError, { problem: 'the header is no JSON' }],
    [
      'data cut off',
      bytes({ a: entry([2], 0, 8) }, 4),
      WeightError,
      { path: /tensor "a"$/, expected: 'a range within 4 bytes of data', got: '0 to 8' },
    ],
    [
      'tensors over each other',
      bytes({ a: entry([2], 0, 8), b: entry([2], 4, 12) }, 12),
      FileError,
      { path: /tensor "b"$/, problem: 'overlaps tensor "a"', expected: 'a start at 8 or later', got: '4' },
    ],
    [
      'dims that lie',
      bytes({ a: entry([3], 0, 8) }, 8),
      WeightError,
      { problem: 'the dims do not fit the bytes', expected: '12 bytes for F32[3]', got: '8' },
    ],
    [
      'a dtype that is none',
      bytes({ a: entry([2], 0, 8, 'F33') }, 8),
      WeightError,
      { problem: 'a dtype that is not supported', expected: /^F64, F32/, got: '"F33"' },
    ],
  ])('%s', async (_, content, kind, parts) => {
    const file = join(dir, 'w.safetensors');
    await writeFile(file, content);
    await fails(() => openWeights(file), kind, { path: /w\.safetensors/, ...parts });
  });

  it('no such file', () =>
    fails(() => openWeights(join(dir, 'nowhere')), FileError, { path: join(dir, 'nowhere'), problem: 'no such file or folder' }));
});

describe('running', () => {
  const m = build(lm());
  const model = compiled(m, { weights: initialize(m, { seed: 1 }) });

  it('feeds of the wrong dtype', async () => {
    const run = await createRunner(model, ort);
    await fails(() => run({ ids: tensor('int32', [1, 2], [1, 2]) }), FeedError, {
      path: 'feed "ids"',
      problem: 'another dtype',
      expected: 'int64[batch, seq]',
      got: 'int32[1, 2]',
    });
    await fails(() => run({ ids: tensor('int64', [1, 2], [1, 23]) }), RunError, {
      path: 'embedding',
      problem: 'the run failed',
      got: /indices element out of data bounds/,
      hint: 'It happened in Gather',
    });
    await run.dispose();
  });

  it('no sequences, on which a kernel would end the process', async () => {
    const run = await createRunner(model, ort);
    await fails(() => run({ ids: tensor('int64', [0, 2], []) }), FeedError, {
      path: 'feed "ids"',
      problem: 'no sequences',
      expected: 'a batch of 1 or more',
      got: '0',
    });
    await run.dispose();
  });

  it('a provider that does not load', () =>
    fails(() => createRunner(model, ort, { device: 'tensorrt', session: { logSeverityLevel: 4 } }), RunError, {
      path: 'runtime',
      problem: 'creating a session on tensorrt failed',
      got: /\S/,
    }));

  it('a provider that the runtime does not know', () =>
    fails(() => createRunner(model, ort, { device: 'wasm' }), RunError, {
      problem: 'creating a session on wasm failed',
      hint: /^onnxruntime-node knows cpu, /,
    }));
});

describe('saving and loading', () => {
  const m = build(lm());
  const model = compiled(m, { weights: initialize(m, { seed: 1 }) });

  it('a folder of a newer format', async () => {
    const folder = join(dir, 'newer');
    await save(model, folder);
    const file = join(folder, 'onnxformers.json');
    const saved = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...saved, format: saved.format + 1 }));
    await fails(() => load(folder), FileError, {
      path: file,
      problem: 'saved in a newer format',
      expected: `format ${saved.format} or older`,
      got: `format ${saved.format + 1}`,
      hint: 'Update onnxformers',
    });
  });

  it('a model file that is none', async () => {
    const folder = join(dir, 'damaged');
    await save(model, folder);
    await writeFile(join(folder, 'model.onnx'), Uint8Array.of(1, 2, 3));
    await fails(() => load(folder), FileError, {
      path: join(folder, 'model.onnx'),
      problem: 'not an ONNX model',
      hint: /cut off/,
    });
  });

  it('a folder that is not there', () =>
    fails(() => load(join(dir, 'nowhere')), FileError, {
      path: join(dir, 'nowhere', 'onnxformers.json'),
      problem: 'no such file or folder',
      hint: /^A saved model is a folder with/,
    }));

  it('a file where the folder should be', async () => {
    await writeFile(join(dir, 'file'), 'x');
    await fails(() => save(model, join(dir, 'file')), FileError, {
      path: join(dir, 'file'),
      problem: 'exists already and is no folder',
    });
  });

  it.skipIf(platform() !== 'linux')('a place where no folder can be made (only Linux has /proc)', () =>
    fails(() => save(model, '/proc/model/of/mine'), FileError, { problem: 'no such file or folder' }),
  );

  it.skipIf(platform() !== 'linux')('a full disk (simulated by /dev/full, which only Linux has)', async () => {
    for (const name of ['weights.bin', 'model.onnx', 'onnxformers.json']) {
      full.add(name);
      const folder = join(dir, `full-${name}`);
      await fails(() => save(model, folder), FileError, {
        path: /full-/,
        problem: 'no space left on the disk',
        hint: /^The model takes .*; nothing was changed in /,
      });
      expect(await readdir(dir)).not.toContain(basename(folder));
      full.delete(name);
    }
  });

  it.skipIf(platform() !== 'linux')(
    'a full disk leaves an older model as it was (simulated by /dev/full, which only Linux has)',
    async () => {
      const folder = join(dir, 'older');
      await save(model, folder);
      const before = await readFile(join(folder, 'weights.bin'));
      full.add('model.onnx');
      await fails(() => save(model, folder), FileError, { problem: 'no space left on the disk' });
      full.clear();
      expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'onnxformers.json', 'weights.bin']);
      expect(await readFile(join(folder, 'weights.bin'))).toEqual(before);
      await load(folder);
    },
  );
});

describe('the reader of configs, whatever it is given,', () => {
  const kinds = [...new Set(zoo.blocks.map((b) => b.kind))];
  /** Builds a module or says what is wrong. Sizes stay small: a model of a billion layers is no mistake that could be told. */
  function reads(f: () => unknown): void {
    let made: unknown;
    try {
      made = f();
    } catch (error) {
      expect(error, String((error as Error).stack)).toBeInstanceOf(ConfigError);
      expect((error as Error).message).not.toMatch(/undefined|\[object|NaN is|function \(/);
      return;
    }
    expect(isModule(made)).toBe(true);
  }
  const names = zoo.blocks.map((b) => b.blockName);
  // A function of one's own stands in no file.
  const isPlain = (x: object) => !Object.values(x).some((v) => typeof v === 'function');
  const scalar = fc.oneof(
    fc.integer({ min: -2, max: 13 }),
    fc.double({ noInteger: true }),
    fc.constantFrom<unknown>(null, true, false, '', 'cat', Number.NaN, Number.NEGATIVE_INFINITY, 1e300, -0, undefined),
    fc.constantFrom(...names),
  );
  const anything = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      scalar,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('name', 'dim', 'heads', '__proto__', 'constructor')), tie('value'), {
        maxKeys: 4,
      }),
    ),
  })).value;

  it('takes any JSON', () => {
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.oneof(anything, fc.jsonValue()), (kind, config) =>
        reads(() => zoo.parse(kind, config)),
      ),
      { numRuns: 1000 },
    );
  });

  it('takes any options of any block', () => {
    const config = fc.constantFrom(...zoo.blocks).chain((block) => {
      const fields = fc.record(Object.fromEntries(Object.keys(block.fields).map((name) => [name, fc.oneof(scalar, anything)])), {
        requiredKeys: [],
      });
      return fields.map((options) => ({ kind: block.kind, config: { name: block.blockName, ...options } }));
    });
    fc.assert(
      fc.property(config, ({ kind, config: c }) => reads(() => zoo.parse(kind, c))),
      { numRuns: 2000 },
    );
  });

  it('takes any change of a config that is right', () => {
    const examples = zoo.blocks.flatMap((b) =>
      b.definition.examples
        .filter(isPlain)
        .map((example: object) => ({ kind: b.kind, config: { name: b.blockName, ...example } })),
    );
    /** The config with one of its values replaced, taken away or given another name. */
    const changed = (x: unknown, at: number, by: unknown, how: string): unknown => {
      const copy = structuredClone(x);
      const places: [Json, string][] = [];
      const visit = (v: unknown) => {
        if (typeof v !== 'object' || v === null) return;
        for (const key of Object.keys(v)) {
          places.push([v as Json, key]);
          visit((v as Json)[key]);
        }
      };
      visit(copy);
      const [owner, key] = places[at % places.length]!;
      if (how === 'rename') owner[`${key}x`] = owner[key];
      if (how === 'replace') owner[key] = by;
      else delete owner[key];
      return copy;
    };
    fc.assert(
      fc.property(
        fc.constantFrom(...examples),
        fc.nat(),
        anything,
        fc.constantFrom('replace', 'remove', 'rename'),
        ({ kind, config }, at, by, how) => {
          reads(() => zoo.parse(kind, changed(config, at, by, how)));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('takes any file', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          anything,
          fc.record(
            {
              config: fc.oneof(anything, fc.constant(lm())),
              kind: anything,
              inputs: anything,
              state: anything,
              layout: anything,
            },
            { requiredKeys: [] },
          ),
        ),
        (file) => reads(() => parseConfig(file).module),
      ),
      { numRuns: 1000 },
    );
  });
});
