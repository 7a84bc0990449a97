import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import { compile } from '../compile/compile';
import { toBytes as fileOf, serialize } from '../compile/serialize';
import { FileError, RunError, WeightError } from '../error';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { toBytes } from '../onnx/encode';
import { cast } from '../ops/cast';
import { add } from '../ops/elementwise';
import type { Progress } from '../progress';
import { load, save } from '../saved/folder';
import { portable } from '../targets/portable';
import { wasm } from '../targets/wasm';
import { tensor, toArray } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { expectClose } from '../testing/close';
import { withFiles } from './large-weights';
import { arithmetic, counting, lookup, unlimited } from './models.test-helper';
import type { Ort } from './ort';
import { inMemory } from './runnable';
import { createRunner } from './runner';

const ids = (...dims: number[]): Tensor =>
  tensor(
    'int64',
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => (i * 5) % 7),
  );
const numbers = (t: Tensor | undefined): number[] => [...toArray(t!).data];

/** The runtime, with its sessions' options and feeds seen on their way. */
function watched(runtime: Ort) {
  const created: { model: unknown; options: Record<string, unknown> }[] = [];
  const ran: { feeds: Record<string, unknown>; fetches: unknown; options: unknown }[] = [];
  const InferenceSession: Ort['InferenceSession'] = {
    async create(model, options) {
      created.push({ model, options });
      const session = await runtime.InferenceSession.create(model, options);
      return {
        inputNames: session.inputNames,
        outputNames: session.outputNames,
        release: () => session.release(),
        run(feeds, fetches, o) {
          ran.push({ feeds, fetches, options: o });
          return session.run(feeds, fetches, o);
        },
      };
    },
  };
  const { Tensor, env, listSupportedBackends } = runtime;
  return { ort: { Tensor, env: env!, InferenceSession, ...(listSupportedBackends && { listSupportedBackends }) }, created, ran };
}

it('takes the modules of both runtimes as they are', async () => {
  expectTypeOf(ort).toExtend<Ort>();
  expectTypeOf(web).toExtend<Ort>();
  const imported = await import('onnxruntime-node');
  const run = await createRunner(arithmetic(), { default: imported } as unknown as Ort);
  expect(run.device).toBe('cpu');
  await expect(createRunner(arithmetic(), {} as Ort)).rejects.toThrow(
    'runtime: not a runtime; expected the module onnxruntime-node or onnxruntime-web, got an object with no keys. import * as ort',
  );
});

for (const [name, runtime, device] of [
  ['onnxruntime-node', ort, 'cpu'],
  ['onnxruntime-web', web, 'wasm'],
] as const) {
  it('a runner refuses a model that was compiled on an assumption that it cannot check', async () => {
    const model = { ...(await inMemory(arithmetic())), assumptions: ['finite pading' as 'finite padding'] };
    await expect(createRunner(model, ort)).rejects.toThrow(
      'assumptions: the model was compiled on an assumption that the runner cannot check; expected "prefill into empty cache" or "no empty sequences" or "finite padding", got "finite pading". Did you mean "finite padding"?',
    );
  });

  describe(name, () => {
    const target = { ...portable(21), providers: [device] };

    it('agrees with the interpreter', async () => {
      const model = lookup({ target });
      const run = await createRunner(model, runtime);
      const { y } = await run({ ids: ids(2, 3) });
      const weights = new Map<unknown, ReturnType<typeof toArray>>();
      for (const [path, p] of model.names.parameters) weights.set(p, toArray(await model.weights!.get(path)!.load()));
      const expected = interpret(model.graph, { ids: toArray(ids(2, 3)) }, { parameters: (p) => weights.get(p)! });
      expectClose(y!, expected.y!, { atol: 1e-6, rtol: 0 });
      expect([run.device, run.refused]).toEqual([device, []]);
      await run.dispose();
    });

    it('returns only the requested outputs', async () => {
      const { ort: seen, ran } = watched(runtime);
      const run = await createRunner(arithmetic({ target }), seen);
      const feeds = { a: counting(2, 3), b: counting(2, 3) };
      expect(Object.keys(await run(feeds))).toEqual(['sum', 'product']);
      expect(await run(feeds, { outputs: ['product'] })).toEqual({
        product: tensor('float32', [2, 3], [1, 4, 9, 16, 25, 36]),
      });
      expect(ran.map(({ fetches }) => fetches)).toEqual([['sum', 'product'], ['product']]);
      await expect(run(feeds, { outputs: ['products'] })).rejects.toThrow(
        'options.outputs: the model has no output "products"; got "products". Did you mean "product"? Outputs: sum, product',
      );
      await expect(run(feeds, { outputs: [] })).rejects.toThrow('options.outputs: no outputs; expected a list of names, got []');
    });

    it('hands out what any module gave', async () => {
      const run = await createRunner(lookup({ target, taps: ['embed', 'layers.0'] }), runtime);
      const all = await run({ ids: ids(2, 3) });
      expect(Object.fromEntries(Object.entries(all).map(([key, t]) => [key, t.dims]))).toEqual({
        y: [2, 3, 5],
        embed: [2, 3, 13],
        'layers.0': [2, 3, 5],
      });
      expect(numbers(all['layers.0'])).toEqual(numbers(all.y));
    });

    it('carries 16-bit floats as bit patterns', async () => {
      const doubled = compile(
        module({}, ({ x }: Record<string, Value>) => ({ y: add(x!, x!) })),
        { target, dtype: 'float16', inputs: { x: ['float16', ['n']] } },
      );
      const run = await createRunner(doubled, runtime);
      const { y } = await run({ x: tensor('float16', [4], [1, -0.5, 65504, 2 ** -24]) });
      expect(y!.data).toBeInstanceOf(Uint16Array);
      expect(numbers(y)).toEqual([2, -1, Number.POSITIVE_INFINITY, 2 ** -23]);
    });

    it('refuses options that it does not know', async () => {
      await expect(createRunner(arithmetic({ target }), runtime, { devise: 'auto' } as never)).rejects.toThrow(
        'options: unknown option "devise"; got "auto". Did you mean "device"? Options: device, session, onProgress',
      );
      const run = await createRunner(arithmetic({ target }), runtime);
      await expect(run({ a: counting(2, 3), b: counting(2, 3) }, { output: ['sum'] } as never)).rejects.toThrow(
        'options: unknown option "output"; got ["sum"]. Did you mean "outputs"? Options: outputs, signal, run',
      );
      await run.dispose();
    });

    it('takes the model as one file in memory too', async () => {
      const model = arithmetic({ target });
      const session = await runtime.InferenceSession.create(await fileOf(model), { executionProviders: [device] });
      const feeds = { a: counting(2, 3), b: counting(2, 3) };
      const run = await createRunner(model, runtime);
      const { sum } = await run(feeds);
      const given = Object.entries(feeds).map(([name, t]) => [name, new runtime.Tensor('float32', t.data, t.dims)]);
      expect((await session.run(Object.fromEntries(given), ['sum'])).sum!.data).toEqual(sum!.data);
      await session.release();
      await run.dispose();
    });

    it('carries bools and empty tensors', async () => {
      const model = compile(
        module({}, ({ x }: Record<string, Value>) => ({ y: cast(x!, 'bool') })),
        { target, inputs: { x: ['int64', ['n', 3]] } },
      );
      const run = await createRunner(model, runtime);
      expect(await run({ x: tensor('int64', [1, 3], [0, 5, -1]) })).toEqual({ y: tensor('bool', [1, 3], [0, 1, 1]) });
      expect(await run({ x: tensor('int64', [0, 3], []) })).toEqual({ y: tensor('bool', [0, 3], []) });
    });

    it('names the block of an error in a run', async () => {
      const run = await createRunner(unlimited(lookup({ target })), runtime);
      const error = await run({ ids: tensor('int64', [1, 2], [3, 7]) }).catch((e: unknown) => e as RunError);
      expect(error).toBeInstanceOf(RunError);
      expect(error).toMatchObject({ path: 'embed', problem: 'the run failed', hint: 'It happened in Gather' });
      expect((error as RunError).got).toContain('out of data bounds');
      expect((error as RunError).cause).toBeInstanceOf(Error);
      // The session lives on.
      expect((await run({ ids: ids(1, 2) })).y!.dims).toEqual([1, 2, 5]);
    });

    it('is disposed once, after the runs that were started', async () => {
      const run = await createRunner(arithmetic({ target }), runtime);
      const feeds = { a: counting(1, 3), b: counting(1, 3) };
      const asked = run(feeds);
      await Promise.all([run.dispose(), run.dispose()]);
      await run.dispose();
      expect(numbers((await asked).sum)).toEqual([2, 4, 6]);
      await expect(run(feeds)).rejects.toThrow('runner: it was disposed. Create another');
    });

    it('does not change the options of the caller', async () => {
      const session = Object.freeze({
        graphOptimizationLevel: 'disabled',
        extra: Object.freeze({ session: Object.freeze({ set_denormal_as_zero: '1' }) }),
      });
      const options = Object.freeze({ tag: 'mine' });
      const { ort: seen, created, ran } = watched(runtime);
      const run = await createRunner(arithmetic({ target }), seen, { session });
      await run({ a: counting(1, 3), b: counting(1, 3) }, { run: options });
      expect(created[0]!.options).toMatchObject({
        graphOptimizationLevel: 'disabled',
        extra: { session: { set_denormal_as_zero: '1' } },
        executionProviders: [device],
      });
      expect(ran[0]!.options).toMatchObject({ tag: 'mine' });
      expect(options).toEqual({ tag: 'mine' });
    });

    it('drops a run that was given up before its turn', async () => {
      const { ort: seen, ran } = watched(runtime);
      const run = await createRunner(arithmetic({ target }), seen);
      const feeds = { a: counting(1, 3), b: counting(1, 3) };
      const [first, second] = [new AbortController(), new AbortController()];
      const results = [run(feeds, { signal: first.signal }), run(feeds, { signal: second.signal }), run(feeds)];
      second.abort(new Error('not needed'));
      expect(await Promise.allSettled(results)).toMatchObject([
        { status: 'fulfilled' },
        { status: 'rejected', reason: { message: 'not needed' } },
        { status: 'fulfilled' },
      ]);
      expect(ran).toHaveLength(2);
      await expect(run(feeds, { signal: AbortSignal.abort(new Error('over')) })).rejects.toThrow('over');
    });
  });
}

describe('16-bit floats if JavaScript has Float16Array', () => {
  // A stand-in for the one of newer engines: the same bytes under another class.
  class Float16Array extends Int16Array {}

  it('are taken and given as bit patterns', async () => {
    const model = compile(
      module({}, ({ x }: Record<string, Value>) => ({ y: add(x!, x!) })),
      { target: portable(21), dtype: 'float16', inputs: { x: ['float16', ['n']] } },
    );
    const { ort: seen, ran } = watched(ort);
    const create = seen.InferenceSession.create;
    const modern: Ort = {
      ...seen,
      // As a tensor of the runtime does there.
      Tensor: class {
        readonly data: Float16Array;
        constructor(
          readonly type: string,
          { buffer, byteOffset, length }: Uint16Array<ArrayBuffer>,
          readonly dims: readonly number[],
        ) {
          this.data = new Float16Array(buffer, byteOffset, length);
        }
      },
      InferenceSession: {
        async create(file, options) {
          const session = await create(file, options);
          return {
            ...session,
            async run(feeds, fetches, o) {
              const { y } = await session.run(feeds, fetches, o);
              const { buffer, byteOffset, length } = y!.data as Uint16Array<ArrayBuffer>;
              return { y: { type: 'float16', dims: y!.dims, data: new Float16Array(buffer, byteOffset, length) } };
            },
          };
        },
      },
    };
    const run = await createRunner(model, modern);
    const x = tensor('float16', [3], [1, 1.5, -2]);
    const { buffer, byteOffset, length } = x.data as Uint16Array<ArrayBuffer>;
    const { y } = await run({ x: { ...x, data: new Float16Array(buffer, byteOffset, length) } });
    expect((ran[0]!.feeds.x as { data: unknown }).data).toBeInstanceOf(Uint16Array);
    expect(y).toEqual(tensor('float16', [3], [2, 3, -4]));
  });
});

describe('options', () => {
  const create = (runtime: Ort, session: Record<string, unknown>) => createRunner(arithmetic(), runtime, { session });

  it.each([
    [
      { freeDimensionOverrides: { n: 2 } },
      'options.session.freeDimensionOverrides: the option has no effect in onnxruntime-node; got an object with n. Set the sizes of the inputs when compiling',
    ],
    [{ enableGraphCapture: true }, 'options.session.enableGraphCapture: the option has no effect in onnxruntime-node'],
    [
      { graphOptimisationLevel: 'all' },
      'options.session.graphOptimisationLevel: the option has no effect in onnxruntime-node; got "all". Did you mean "graphOptimizationLevel"?',
    ],
    [{ preferredOutputLocation: 'gpu-buffer' }, 'Results are tensors in CPU memory'],
    [{ executionProviders: ['cuda'] }, 'Select the provider with the option device'],
  ])('without effect in onnxruntime-node are refused: %o', async (session, message) => {
    await expect(create(ort, session)).rejects.toThrow(message);
  });

  it.each([
    [{ intraOpNumThreads: 2 }, 'Set env.wasm.numThreads of the runtime before its first session'],
    [
      { optimizedModelFilePath: 'x.onnx' },
      'options.session.optimizedModelFilePath: the option has no effect in onnxruntime-web; got "x.onnx"',
    ],
  ])('without effect in onnxruntime-web are refused: %o', async (session, message) => {
    await expect(create(web, session)).rejects.toThrow(message);
  });

  it('of the runtimes that have an effect are passed', async () => {
    const { ort: seen, created } = watched(ort);
    await createRunner(arithmetic(), seen, { session: { intraOpNumThreads: 1, logSeverityLevel: 1 } });
    expect(created[0]!.options).toMatchObject({ intraOpNumThreads: 1, logSeverityLevel: 1 });
    const browser = watched(web);
    await createRunner(arithmetic(), browser.ort, { session: { freeDimensionOverrides: { n: 2 } } });
    expect(browser.created[0]!.options).toMatchObject({ freeDimensionOverrides: { n: 2 } });
  });

  it.each([
    ['onnxruntime-node', ort],
    ['onnxruntime-web', web],
  ] as const)('let %s print errors only, unless they say otherwise', async (_, runtime) => {
    const { ort: seen, created } = watched(runtime);
    await createRunner(arithmetic({ target: { ...portable(21), providers: ['cpu'] } }), seen);
    expect(created[0]!.options.logSeverityLevel).toBe(3);
  });

  it('let the runs of onnxruntime-web print as little as its session', async () => {
    const { ort: seen, ran } = watched(web);
    const model = arithmetic({ target: { ...portable(21), providers: ['cpu'] } });
    const feeds = { a: counting(2, 3), b: counting(2, 3) };
    for (const session of [{}, { logSeverityLevel: 1 }]) await (await createRunner(model, seen, { session }))(feeds);
    await (await createRunner(model, seen))(feeds, { run: { logSeverityLevel: 0 } });
    expect(ran.map(({ options }) => options)).toMatchObject([3, 1, 0].map((logSeverityLevel) => ({ logSeverityLevel })));
  });

  it('that are wrong are reported with the message of the runtime', async () => {
    await expect(create(ort, { intraOpNumThreads: 'many' })).rejects.toThrow(
      /^runtime: creating a session on cpu failed; got .*intraOpNumThreads/,
    );
  });

  it('of a run without effect are refused', async () => {
    const run = await createRunner(arithmetic(), ort);
    await expect(run({ a: counting(1, 3), b: counting(1, 3) }, { run: { terminate: true } })).rejects.toThrow(
      'options.run.terminate: the option has no effect in onnxruntime-node; got true. A run cannot be stopped',
    );
  });

  it('of a provider without effect are refused', async () => {
    await expect(createRunner(arithmetic(), ort, { device: { name: 'cuda', gpuMemLimit: 1 } })).rejects.toThrow(
      'options.device.gpuMemLimit: the option has no effect in onnxruntime-node; got 1. Options with an effect: deviceId',
    );
    const { ort: seen, created } = watched(web);
    const run = await createRunner(arithmetic(), seen, { device: { name: 'wasm' } });
    expect([run.device, created[0]!.options.executionProviders]).toEqual(['wasm', [{ name: 'wasm' }]]);
    await expect(createRunner(arithmetic(), ort, { device: 3 as never })).rejects.toThrow(
      "options.device: not a device; expected 'auto', the name of a provider, or an object with its name and options, got 3",
    );
  });
});

describe('devices', () => {
  it('that do not load are errors, not another device', async () => {
    await expect(createRunner(arithmetic(), ort, { device: 'wasm' })).rejects.toThrow(
      /^runtime: creating a session on wasm failed; got no available backend found.*\. onnxruntime-node knows cpu, /,
    );
    await expect(createRunner(arithmetic({ target: wasm }), ort)).rejects.toThrow('creating a session on wasm failed');
    const warned = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const both = { ...(await inMemory(arithmetic())), providers: ['webgpu', 'wasm'] };
    await expect(createRunner(both, web)).rejects.toThrow('creating a session on webgpu failed');
    warned.mockRestore();
  });

  it('auto: tries the providers of the model, then the CPU, and reports the one that it uses', async () => {
    const model = { ...(await inMemory(arithmetic())), providers: ['wasm', 'nonsense'] };
    const run = await createRunner(model, ort, { device: 'auto' });
    expect(run.device).toBe('cpu');
    expect(run.refused).toMatchObject([{ device: 'wasm' }, { device: 'nonsense' }]);
    expect(run.refused[0]!.reason).toContain('backend not found');
    const first = await createRunner(arithmetic(), ort, { device: 'auto' });
    expect([first.device, first.refused]).toEqual(['cpu', []]);
  });

  it('auto: an error with all reasons if no provider loads', async () => {
    const broken = { ...(await inMemory(arithmetic())), file: Uint8Array.of(1, 2, 3), providers: ['wasm', 'cpu'] };
    await expect(createRunner(broken, ort, { device: 'auto' })).rejects.toThrow(
      /^runtime: no provider could be loaded; got wasm: .*; cpu: .*protobuf/i,
    );
  });
});

describe('models', () => {
  /** x + 0.5 and x + 4 [1031], u + 2 [521] */
  const wide = () => {
    const all = (n: number, v: number) => tensor('float32', [n], new Array(n).fill(v));
    return compile(
      module({}, ({ x, u }: Record<string, Value>) => ({
        y: add(x!, all(1031, 0.5)),
        z: add(u!, all(521, 2)),
        w: add(x!, all(1031, 4)),
      })),
      { target: portable(21), inputs: { x: ['float32', [1031]], u: ['float32', [521]] } },
    );
  };

  it('without weights are refused', async () => {
    const model = { ...lookup(), weights: undefined };
    await expect(createRunner(model, ort)).rejects.toThrow(WeightError);
    await expect(createRunner(model, ort)).rejects.toThrow(
      'weight "embed.weight": the model was compiled without weights. Pass weights to compile(): a checkpoint, or initialize(module)',
    );
  });

  it('keep large weights outside their bytes, so that 2 GiB is not a limit', async () => {
    const wide = compile(
      module({}, ({ x }: Record<string, Value>) => ({ y: add(x!, tensor('float32', [1024], new Array(1024).fill(0.5))) })),
      { target: portable(21), inputs: { x: ['float32', [1024]] } },
    );
    const { file, external } = await inMemory(wide);
    expect(external!.map(({ data }) => data.length)).toEqual([4096]);
    expect((file as Uint8Array).length).toBeLessThan(1000);
    const run = await createRunner(wide, ort);
    expect(numbers((await run({ x: counting(1024) })).y).slice(0, 3)).toEqual([1.5, 2.5, 3.5]);
  });

  describe('with weights too large for the memory that the runtime takes', () => {
    let dir: string;
    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'runner-'));
      vi.stubEnv('TMPDIR', dir);
    });
    afterEach(async () => {
      vi.unstubAllEnvs();
      // The runtime leaves files of its own there.
      expect((await readdir(dir)).filter((name) => name.startsWith('onnxformers-'))).toEqual([]);
      await rm(dir, { recursive: true });
    });

    it('go through temporary files', async () => {
      const seen: Progress[] = [];
      const whole = await inMemory(wide());
      expect(whole.external!.map(({ data }) => data.length)).toEqual([4124, 2084, 4124]);
      const { runnable, close } = await withFiles(whole, 3000, (p) => seen.push(p));
      expect(runnable.file).toMatch(/model\.onnx$/);
      expect(seen.at(-1)).toEqual({ phase: 'write', fraction: 1, bytes: 2 * 4124 + 2084 + whole.file.length });
      const run = await createRunner(runnable, ort);
      // Open files outlast their names where the system lets them.
      if (process.platform !== 'win32') await close();
      const { y, z, w } = await run({ x: counting(1031), u: counting(521) });
      expect([numbers(y)[2], numbers(z)[520], numbers(w)[1030]]).toEqual([3.5, 523, 1035]);
      await run.dispose();
      await close();
    });

    it('stay in memory if all fit', async () => {
      const whole = await inMemory(wide());
      expect((await withFiles(whole, 4124)).runnable).toBe(whole);
    });

    it('are refused if they cannot be written, and no file is left', async () => {
      const whole = await inMemory(wide());
      const stop = () => {
        throw new Error('no room');
      };
      await expect(withFiles(whole, 3000, stop)).rejects.toThrow(
        /onnxformers-\w+: a weight is too large for the runtime in memory, and cannot be written to a temporary file; expected .* of free space, got no room\. Set TMPDIR/,
      );
      vi.stubGlobal('process', undefined);
      try {
        await expect(withFiles(whole, 3000)).rejects.toThrow('it cannot be passed by a file here');
      } finally {
        vi.unstubAllGlobals();
      }
    });
  });

  it('report their progress', async () => {
    const seen: Progress[] = [];
    const onProgress = (p: Progress) => void seen.push(p);
    await createRunner(wide(), ort, { onProgress });
    const bytes = 2 * 4124 + 2084;
    expect(seen).toEqual([
      { phase: 'weights', fraction: 4124 / bytes, bytes },
      { phase: 'weights', fraction: (4124 + 2084) / bytes, bytes },
      { phase: 'weights', fraction: 1, bytes },
      { phase: 'session', fraction: 0 },
      { phase: 'session', fraction: 1 },
    ]);
    const stop = new Error('enough');
    const onStop = () => {
      throw stop;
    };
    await expect(createRunner(wide(), ort, { onProgress: onStop })).rejects.toBe(stop);
  });

  it('name the node that cannot be loaded', async () => {
    const onnx = serialize(lookup());
    const nodes = onnx.graph.nodes.map((n) => (n.opType === 'Gather' ? { ...n, opType: 'Gathex' } : n));
    const file = await toBytes({ ...onnx, graph: { ...onnx.graph, nodes } });
    await expect(createRunner({ ...(await inMemory(lookup())), file }, ort)).rejects.toThrow(
      /^embed: creating a session on cpu failed; got .*Gathex.*\. It happened in Gather/,
    );
  });

  describe('saved', () => {
    let dir: string;
    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'runner-'));
      const wide = lookup({ taps: ['embed'] });
      await save(wide, dir);
    });
    afterAll(() => rm(dir, { recursive: true }));

    it.each([
      ['onnxruntime-node', ort],
      ['onnxruntime-web', web],
    ] as const)('are run by %s with their own weights', async (_, runtime) => {
      const direct = await (await createRunner(lookup({ taps: ['embed'] }), runtime))({ ids: ids(3, 2) });
      const run = await createRunner(await load(dir), runtime);
      expect(await run({ ids: ids(3, 2) })).toEqual(direct);
    });

    it('with a description that does not fit are refused', async () => {
      const loaded = await load(dir);
      const signature = { ...loaded.signature, inputs: [] };
      await expect(createRunner({ ...loaded, signature }, ort)).rejects.toThrow(FileError);
      await expect(createRunner({ ...loaded, signature }, ort)).rejects.toThrow(
        'onnxformers.json: the model has an input "ids" that is missing from its description; expected ids, got no inputs',
      );
    });

    it('with weights cut off or gone are refused', async () => {
      const other = await mkdtemp(join(tmpdir(), 'runner-'));
      try {
        const model = compile(
          module({}, ({ x }: Record<string, Value>) => ({ y: add(x!, tensor('float32', [1024], new Array(1024).fill(2))) })),
          { target: portable(21), inputs: { x: ['float32', [1024]] } },
        );
        await save(model, other);
        const weights = join(other, 'weights.bin');
        await writeFile(weights, (await readFile(weights)).subarray(0, 100));
        await expect(load(other)).rejects.toThrow(
          `${weights}: the weights of the model are truncated: 100 of 4096 bytes. A saved model is`,
        );
        await rm(weights);
        await expect(load(other)).rejects.toThrow(`${weights}: the weights of the model are missing`);
        await rm(join(other, 'onnxformers.json'));
        await expect(load(other)).rejects.toThrow(`${join(other, 'onnxformers.json')}: no such file or folder. A saved model is`);
      } finally {
        await rm(other, { recursive: true });
      }
    });
  });
});
