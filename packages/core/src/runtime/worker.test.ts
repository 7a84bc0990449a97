import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { MessageChannel } from 'node:worker_threads';
import * as ort from 'onnxruntime-node';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Model } from '../compile/compile';
import { ConfigError, FeedError, RunError, WeightError } from '../error';
import type { Progress } from '../progress';
import { load, save } from '../saved/folder';
import { tensor, toArray } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { packError, unpackError } from './carried-error';
import { arithmetic, counting, identity, lookup, power, unlimited } from './models.test-helper';
import { connectRunner, serveRunner } from './remote';
import { createRunner } from './runner';
import { createWorkerRunner, type WorkerRunnerOptions } from './worker';

const require = createRequire(import.meta.url);
const options: WorkerRunnerOptions = { runtime: 'onnxruntime-node' };
const numbers = (t: Tensor | undefined): number[] => [...toArray(t!).data];
const feeds = { a: counting(2, 3), b: counting(2, 3) };

/** How often a timer of 1 ms runs while f does. */
async function ticksDuring(f: () => Promise<unknown>): Promise<number> {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await f();
  clearInterval(timer);
  return ticks;
}

describe('a runner in a worker', () => {
  it('returns the same as a runner, including requested outputs and the device', async () => {
    const run = await createWorkerRunner(arithmetic(), options);
    try {
      expect([run.device, run.refused]).toEqual(['cpu', []]);
      expect(run.signature.inputs.map(({ name }) => name)).toEqual(['a', 'b']);
      const direct = await (await createRunner(arithmetic(), ort))(feeds);
      expect(await run(feeds)).toEqual(direct);
      expect(Object.keys(await run(feeds, { outputs: ['product'] }))).toEqual(['product']);
      // What was fed is the caller's still.
      expect(numbers(feeds.a)).toEqual([1, 2, 3, 4, 5, 6]);
    } finally {
      await run.dispose();
    }
  });

  it('reports the progress of opening the model', async () => {
    const seen: Progress[] = [];
    const run = await createWorkerRunner(arithmetic(), { ...options, onProgress: (p) => seen.push(p) });
    await run.dispose();
    expect(seen.slice(-2)).toEqual([
      { phase: 'session', fraction: 0 },
      { phase: 'session', fraction: 1 },
    ]);
    const stop = new Error('enough');
    const stopped = createWorkerRunner(arithmetic(), {
      ...options,
      onProgress: ({ phase }) => {
        if (phase === 'session') throw stop;
      },
    });
    await expect(stopped).rejects.toBe(stop);
  });

  it('leaves the event loop free during a run', async () => {
    const model = power();
    const x = identity(700);
    const [here, there] = [await createRunner(model, ort), await createWorkerRunner(model, options)];
    try {
      expect(numbers((await there({ x })).y)).toEqual(numbers(x));
      // The runtime of this thread blocks it, so that the same count can be small.
      expect(await ticksDuring(() => here({ x }))).toBeLessThan(5);
      expect(await ticksDuring(() => there({ x }))).toBeGreaterThan(20);
    } finally {
      await there.dispose();
    }
  });

  it('runs in the order of the calls, on feeds as they were then', async () => {
    const run = await createWorkerRunner(arithmetic(), options);
    try {
      const a = counting(1, 3);
      const order: number[] = [];
      const results = [0, 1, 2].map((i) => {
        (a.data as Float32Array).fill(i);
        return run({ a, b: a }).then(({ sum }) => {
          order.push(i);
          return numbers(sum);
        });
      });
      expect(await Promise.all(results)).toEqual([
        [0, 0, 0],
        [2, 2, 2],
        [4, 4, 4],
      ]);
      expect(order).toEqual([0, 1, 2]);
    } finally {
      await run.dispose();
    }
  });

  it('sends only what a view shows', async () => {
    const run = await createWorkerRunner(arithmetic(), options);
    try {
      const all = Float32Array.from({ length: 1000 }, (_, i) => i);
      const view = { dtype: 'float32', dims: [1, 3], data: all.subarray(10, 13) } as const;
      expect(numbers((await run({ a: view, b: view })).sum)).toEqual([20, 22, 24]);
      expect(all).toHaveLength(1000);
    } finally {
      await run.dispose();
    }
  });

  it('drops queued runs that are aborted; the results of one that has begun are discarded', async () => {
    const run = await createWorkerRunner(power(), options);
    try {
      const [first, second] = [new AbortController(), new AbortController()];
      const x = identity(300);
      const results = [run({ x }, { signal: first.signal }), run({ x }, { signal: second.signal }), run({ x })];
      setTimeout(() => {
        first.abort(new Error('one'));
        second.abort(new Error('two'));
      });
      const settled = await Promise.allSettled(results);
      expect(settled).toMatchObject([
        { status: 'rejected', reason: { message: 'one' } },
        { status: 'rejected', reason: { message: 'two' } },
        { status: 'fulfilled' },
      ]);
      expect(numbers((settled[2] as PromiseFulfilledResult<Record<string, Tensor>>).value.y)).toEqual(numbers(x));
      await expect(run({ x }, { signal: AbortSignal.abort(new Error('three')) })).rejects.toThrow('three');
    } finally {
      await run.dispose();
    }
  });

  it('throws errors with their class and data', async () => {
    const run = await createWorkerRunner(unlimited(lookup()), options);
    try {
      const error = await run({ ids: tensor('int64', [1, 2], [3, 7]) }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(RunError);
      expect(error).toMatchObject({ name: 'RunError', path: 'embed', problem: 'the run failed', hint: 'It happened in Gather' });
      expect((error as RunError).message).toMatch(/^embed: the run failed; got .*out of data bounds/);
      await expect(run({})).rejects.toThrow(FeedError);
      await expect(run({ ids: tensor('int64', [1, 2], [3, 4]) }, { outputs: ['z'] })).rejects.toThrow(FeedError);
      expect((await run({ ids: tensor('int64', [1, 2], [3, 4]) })).y!.dims).toEqual([1, 2, 5]);
    } finally {
      await run.dispose();
    }
  });

  it('is disposed once, after the runs that were started', async () => {
    const run = await createWorkerRunner(arithmetic(), options);
    const asked = run(feeds);
    await Promise.all([run.dispose(), run.dispose()]);
    await run.dispose();
    expect(numbers((await asked).sum)).toEqual([2, 4, 6, 8, 10, 12]);
    await expect(run(feeds)).rejects.toThrow('runner: it was disposed. Create another');
  });

  it('does not take the weights from the caller', async () => {
    const model = lookup();
    const run = await createWorkerRunner(model, options);
    const again = await createWorkerRunner(model, options);
    const ids = tensor('int64', [2, 1], [3, 4]);
    expect(await run({ ids })).toEqual(await again({ ids }));
    await Promise.all([run.dispose(), again.dispose()]);
  });

  it.each([
    ['a model without weights', { ...lookup(), weights: undefined }, {}, WeightError, 'the model was compiled without weights'],
    [
      'a runtime that is not there',
      arithmetic(),
      { runtime: 'onnxruntime-nowhere' },
      RunError,
      /runtime: onnxruntime-nowhere cannot be imported; got Cannot find .*onnxruntime-nowhere.*npm install onnxruntime-nowhere/,
    ],
    ['a module that is none', arithmetic(), { runtime: 'node:path' }, ConfigError, 'runtime: not a runtime; expected the module'],
    [
      'a path to nowhere',
      arithmetic(),
      { runtime: './ort.js' },
      ConfigError,
      'options.runtime: a relative path cannot be resolved',
    ],
    ['no module', arithmetic(), { runtime: undefined }, ConfigError, 'options.runtime: not a module; expected the name or URL'],
    ['a device that does not load', arithmetic(), { device: 'wasm' }, RunError, 'creating a session on wasm failed'],
    ['options without effect', arithmetic(), { session: { enableGraphCapture: true } }, ConfigError, 'has no effect'],
    [
      'options that cannot be sent',
      arithmetic(),
      { session: { extra: () => 1 } },
      ConfigError,
      'options: they cannot be sent to another thread; expected plain data',
    ],
  ])('refuses %s', async (_, model, o, kind, message) => {
    const created = createWorkerRunner(model as Model, { ...options, ...o } as WorkerRunnerOptions);
    await expect(created).rejects.toThrow(kind);
    await expect(created).rejects.toThrow(message);
  });

  describe('whose runtime fails', () => {
    let dir: string;
    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'worker-'));
    });
    afterAll(() => rm(dir, { recursive: true }));

    /** A runner with the runtime of this project, whose sessions run so. It says that it is native code, unless `env` says otherwise. */
    async function failing(name: string, run: string, env = 'real.env', release = '() => session.release()') {
      // Named as it is, the runtime of this project would not be found from there.
      const real = JSON.stringify(pathToFileURL(require.resolve('onnxruntime-node')).href);
      const file = join(dir, `${name}.mjs`);
      await writeFile(
        file,
        `import real from ${real};
         export const { Tensor } = real;
         export const env = ${env};
         export const InferenceSession = { create: async (...args) => {
           const session = await real.InferenceSession.create(...args);
           return { inputNames: session.inputNames, outputNames: session.outputNames, run: ${run}, release: ${release} };
         } };`,
      );
      return createWorkerRunner(arithmetic(), { ...options, runtime: pathToFileURL(file) });
    }
    const reasons = async (runs: readonly Promise<unknown>[]) =>
      (await Promise.allSettled(runs)).map((r) => r.status === 'rejected' && r.reason.message);

    it('reports that the thread ended by itself, and is disposed', async () => {
      const run = await failing('exit', '() => process.exit(7)');
      const reason = 'worker: the thread ended; got exit code 7';
      expect(await reasons([run(feeds), run(feeds)])).toEqual([reason, reason]);
      await run.dispose();
      expect(await reasons([run(feeds)])).toEqual(['runner: it was disposed. Create another']);
    });

    it('reports an error of the thread itself, and is disposed', async () => {
      const run = await failing('throw', "() => new Promise(() => setTimeout(() => { throw new Error('far away'); }))");
      const reason = 'worker: the thread failed; got far away';
      expect(await reasons([run(feeds), run(feeds)])).toEqual([reason, reason]);
      expect(await reasons([run(feeds)])).toEqual([reason]);
      await Promise.all([run.dispose(), run.dispose()]);
    });

    it('is disposed in the midst of a run that does not end', async () => {
      const run = await failing('hang', '() => new Promise(() => {})');
      const asked = reasons([run(feeds), run(feeds)]);
      await run.dispose({ timeout: 30 });
      const reason =
        'runner: a run had not ended 30 ms after dispose was called, and its result is discarded. Pass dispose a longer timeout';
      expect(await asked).toEqual([reason, reason]);
      await run.dispose();
    });

    it('is disposed in the midst of a run that blocks its thread in JavaScript', async () => {
      const run = await failing('block', '() => { for (;;); }', "{ versions: { web: '1.30.0' } }");
      const asked = reasons([run(feeds)]);
      await run.dispose({ timeout: 30 });
      expect((await asked)[0]).toContain('its result is discarded');
    });

    it('is disposed in the midst of a run that blocks its thread in native code, and can be replaced', async () => {
      const run = await createWorkerRunner(power(), options);
      const x = identity(700);
      const asked = reasons([run({ x }), run({ x })]);
      await run.dispose({ timeout: 30 });
      for (const reason of await asked) expect(reason).toContain('its result is discarded');
      expect(await reasons([run({ x })])).toEqual(['runner: it was disposed. Create another']);
      const other = await createWorkerRunner(arithmetic(), options);
      expect(numbers((await other(feeds)).sum)).toEqual([2, 4, 6, 8, 10, 12]);
      await other.dispose();
    });

    it('ends its thread where a session cannot be freed', async () => {
      const run = await failing('release', '(...args) => session.run(...args)', 'real.env', "() => { throw new Error('kept'); }");
      await expect(run.dispose()).rejects.toThrow('kept');
      await expect(run(feeds)).rejects.toThrow('it was disposed');
    });

    it('refuses an invalid timeout', async () => {
      const run = await failing('fine', '(...args) => session.run(...args)');
      for (const timeout of [-1, Number.NaN, '1' as never])
        await expect(run.dispose({ timeout })).rejects.toThrow(
          'options.timeout: not a duration; expected milliseconds, 0 or more',
        );
      await expect(run.dispose({ time: 1 } as never)).rejects.toThrow('unknown option "time"');
      expect(numbers((await run(feeds)).sum)).toEqual([2, 4, 6, 8, 10, 12]);
      await run.dispose({ timeout: Number.POSITIVE_INFINITY });
    });
  });

  describe('and the process', () => {
    let dir: string;
    // As plain JavaScript, processes and their threads start ten times as fast.
    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'worker-'));
      const input = Object.fromEntries(
        ['worker', 'worker-thread', 'models.test-helper'].map((name) => [
          name,
          fileURLToPath(new URL(`${name}.ts`, import.meta.url)),
        ]),
      );
      const output = { entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' };
      await build({
        configFile: false,
        logLevel: 'warn',
        ssr: { noExternal: true },
        build: { ssr: true, outDir: dir, emptyOutDir: true, rolldownOptions: { input, output } },
      });
    });
    afterAll(() => rm(dir, { recursive: true }));

    // A run of `power` on x takes hundreds of milliseconds.
    const program = (code: string) => `
      import { createWorkerRunner } from './worker.mjs';
      import { arithmetic, counting, identity, power } from './models.test-helper.mjs';
      const runtime = 'onnxruntime-node';
      const feeds = { a: counting(1, 3), b: counting(1, 3) };
      const x = identity(700);
      const begun = () => new Promise((resolve) => setTimeout(resolve, 50));
      ${code}`;
    let programs = 0;
    /** Exit code (a name for a signal, as of an abort) and output of a process with this program. */
    async function end(code: string): Promise<{ code: unknown; stdout: string; stderr: string }> {
      const file = join(dir, `program-${programs++}.mjs`);
      await writeFile(file, program(code));
      try {
        return { code: 0, ...(await promisify(execFile)(process.execPath, [file], { timeout: 50_000 })) };
      } catch (error) {
        const { code, signal, stdout, stderr } = error as { code: unknown; signal: unknown; stdout: string; stderr: string };
        return { code: signal ?? code, stdout, stderr };
      }
    }

    it.each([
      [
        'with the last answer',
        "const run = await createWorkerRunner(arithmetic(), { runtime }); await run(feeds); console.log('done');",
        'done\n',
      ],
      [
        'after dispose',
        "const run = await createWorkerRunner(arithmetic(), { runtime }); await run(feeds); await run.dispose(); console.log('disposed');",
        'disposed\n',
      ],
      [
        'without a run, with one listener for all runners',
        `const before = process.listenerCount('exit');
         await Promise.all([0, 1, 2].map(() => createWorkerRunner(arithmetic(), { runtime })));
         console.log(process.listenerCount('exit') - before);`,
        '1\n',
      ],
      [
        'after a run that dispose did not wait for',
        `const run = await createWorkerRunner(power(), { runtime });
         const asked = run({ x }).catch((e) => console.log(e.name));
         await begun();
         await run.dispose({ timeout: 1 });
         await asked;
         console.log('disposed');`,
        'RunError\ndisposed\n',
      ],
      [
        'after a run, on process.exit',
        `const run = await createWorkerRunner(power(), { runtime });
         run({ x }); run({ x });
         await begun();
         process.exit();`,
        '',
      ],
      [
        'after a run that was aborted',
        `const run = await createWorkerRunner(power(), { runtime });
         await run({ x }, { signal: AbortSignal.timeout(50) }).catch((e) => console.log(e.name));
         process.exit();`,
        'TimeoutError\n',
      ],
      [
        'after the runtime has opened a model that is not needed any more',
        `const onProgress = ({ phase }) => { if (phase === 'session') throw new Error('enough'); };
         await createWorkerRunner(power(), { runtime, onProgress }).catch((e) => console.log(e.message));`,
        'enough\n',
      ],
      [
        'while a thread starts, on process.exit',
        'createWorkerRunner(arithmetic(), { runtime }); await begun(); process.exit();',
        '',
      ],
      [
        'while a thread opens a model, on process.exit',
        `const onProgress = ({ phase }) => { if (phase === 'session') process.exit(); };
         createWorkerRunner(power(), { runtime, onProgress });
         await new Promise(() => setInterval(() => {}, 1000));`,
        '',
      ],
      [
        'after an error in the thread',
        `await createWorkerRunner(arithmetic(), { runtime, device: 'nowhere' }).catch((e) => console.log(e.name));
         await createWorkerRunner(arithmetic(), { runtime: 'onnxruntime-nowhere' }).catch((e) => console.log(e.name));`,
        'RunError\nRunError\n',
      ],
      [
        'after disposing in the midst of everything',
        `const runs = await Promise.all([0, 1, 2].map(() => createWorkerRunner(power(), { runtime })));
         const asked = Promise.allSettled(runs.flatMap((run) => [run({ x }), run({ x })]));
         await Promise.all(runs.map((run, i) => run.dispose({ timeout: 20 * i })));
         console.log((await asked).every((r) => r.status === 'rejected'));
         process.exit();`,
        'true\n',
      ],
    ])('ends %s', async (_, code, stdout) => {
      expect(await end(code)).toEqual({ code: 0, stdout, stderr: '' });
    });

    it('keeps its exit code', async () => {
      const started = 'const run = await createWorkerRunner(power(), { runtime }); run({ x }); await begun();';
      expect(await end(`${started} process.exit(7);`)).toEqual({ code: 7, stdout: '', stderr: '' });
      expect(await end(`${started} throw new Error('unrelated');`)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('unrelated'),
      });
    });
  });

  describe('of a saved model', () => {
    let dir: string;
    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'worker-'));
      await save(lookup(), dir);
    });
    afterAll(() => rm(dir, { recursive: true }));

    it.each([
      ['folder', (path: string) => path],
      ['loaded model', (path: string) => load(path)],
    ])('takes the %s', async (_, modelOf) => {
      const ids = tensor('int64', [2, 3], [3, 4, 5, 6, 0, 1]);
      const direct = await (await createRunner(lookup(), ort))({ ids });
      const run = await createWorkerRunner(await modelOf(dir), options);
      expect(await run({ ids })).toEqual(direct);
      await run.dispose();
    });

    it('runs on onnxruntime-web too', async () => {
      const ids = tensor('int64', [2, 3], [3, 4, 5, 6, 0, 1]);
      const run = await createWorkerRunner(dir, { ...options, runtime: 'onnxruntime-web', device: 'wasm' });
      expect(run.device).toBe('wasm');
      expect((await run({ ids })).y!.dims).toEqual([2, 3, 5]);
      await run.dispose();
    });

    it('refuses a missing folder', async () => {
      await expect(createWorkerRunner(join(dir, 'nowhere'), options)).rejects.toThrow('no such file or folder');
    });
  });
});

describe('a runner at the other end of a message port, as in browsers', () => {
  function ends() {
    const { port1, port2 } = new MessageChannel();
    const state = { closed: false, runs: 0 };
    const counting = {
      ...ort,
      InferenceSession: {
        async create(...args: Parameters<typeof ort.InferenceSession.create>) {
          const session = await ort.InferenceSession.create(...args);
          return new Proxy(session, {
            get(target, key) {
              if (key === 'run') state.runs++;
              const value = Reflect.get(target, key);
              return typeof value === 'function' ? value.bind(target) : value;
            },
          });
        },
      },
    } as unknown as typeof ort;
    serveRunner(port2, counting, () => {
      state.closed = true;
      port2.close();
    });
    return { port: port1, state };
  }

  it('runs and closes', async () => {
    const { port, state } = ends();
    const run = await connectRunner(arithmetic(), port);
    expect(numbers((await run(feeds)).product)).toEqual([1, 4, 9, 16, 25, 36]);
    await run.dispose();
    expect(state.closed).toBe(true);
  });

  it('never sees a run that was given up in the queue', async () => {
    const { port, state } = ends();
    const run = await connectRunner(arithmetic(), port);
    const given = new AbortController();
    const results = [run(feeds), run(feeds, { signal: given.signal }), run(feeds)];
    given.abort(new Error('not needed'));
    const settled = await Promise.allSettled(results);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await run.dispose();
    expect(state.runs).toBe(2);
  });
});

describe('what a runner keeps', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;

  it.each([
    [
      'behind a port',
      async (model: Model) => {
        const { port1, port2 } = new MessageChannel();
        serveRunner(port2, ort, () => port2.close());
        return connectRunner(model, port1, {}, { lost: new Promise<never>(() => {}) });
      },
    ],
    ['in this thread', (model: Model) => createRunner(model, ort)],
  ])('of its answers: nothing, %s', async (_, open) => {
    const run = await open(arithmetic());
    const answers: WeakRef<object>[] = [];
    for (let i = 0; i < 9; i++) answers.push(new WeakRef((await run(feeds)).sum!.data));
    // What a message carried last lives until the port has another.
    await run({ a: counting(0, 3), b: counting(0, 3) });
    await new Promise((resolve) => setTimeout(resolve));
    collect();
    expect(answers.filter((answer) => answer.deref())).toHaveLength(0);
    await run.dispose();
  });
});

describe('errors between threads', () => {
  it('keep class, data and cause', () => {
    const fault = { path: 'p', problem: 'q', expected: 'e', got: 'g', hint: 'h' };
    const cause = new TypeError('inner');
    const there = unpackError(structuredClone(packError(new WeightError(fault, { cause }))));
    expect(there).toBeInstanceOf(WeightError);
    expect(there).toMatchObject({ ...fault, name: 'WeightError', message: new WeightError(fault).message });
    expect(there.cause).toMatchObject({ name: 'TypeError', message: 'inner' });
    expect(unpackError(packError(new RunError({ path: '', problem: 'q' })))).toMatchObject({ hint: undefined, message: 'q' });
  });

  it('keep errors of other classes', () => {
    const error = new RangeError('too far');
    expect(unpackError(structuredClone(packError(error)))).toMatchObject({
      name: 'RangeError',
      message: 'too far',
      stack: error.stack,
    });
    expect(unpackError(packError('thrown text')).message).toBe('thrown text');
  });
});
