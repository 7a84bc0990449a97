// How many sessions are open, when they are closed, and calls at the same time.
import { type Ort, type OrtSession, RunError, targets } from '@onnxformers/core';
import * as node from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { BlockDiagonalMask, createOps, LowerTriangularMask } from './index';
import { random } from './plain.test-helper';
import { boundedSessions } from './sessions';

/** Sessions of text that note when they are opened and closed. */
function noted(most: number) {
  const events: string[] = [];
  const sessions = boundedSessions<string>(most, async (name) => {
    events.push(`close ${name}`);
  });
  const use = (name: string, task = async () => name) =>
    sessions.use(
      name,
      async () => {
        events.push(`open ${name}`);
        return name;
      },
      task,
    );
  return { events, sessions, use };
}

/** A promise that is settled from outside. */
function gate() {
  let release = (): void => {};
  const opened = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { opened, release };
}

describe('bounded sessions', () => {
  it('close the one that has not been used for the longest time', async () => {
    const { events, sessions, use } = noted(2);
    for (const name of ['a', 'b', 'a', 'c', 'a', 'b']) expect(await use(name)).toBe(name);
    expect(sessions.open()).toEqual(['a', 'b']);
    await sessions.dispose();
    expect(events).toEqual(['open a', 'open b', 'open c', 'close b', 'open b', 'close c', 'close a', 'close b']);
    expect(sessions.open()).toEqual([]);
  });
  it('are opened once for calls at the same time, and not closed while they are in use', async () => {
    const { events, sessions, use } = noted(1);
    const { opened, release } = gate();
    const slow = [1, 2].map(() => use('a', () => opened.then(() => 'done')));
    expect(await use('b')).toBe('b');
    expect(events).toEqual(['open a', 'open b', 'close b']);
    release();
    expect(await Promise.all(slow)).toEqual(['done', 'done']);
    expect(sessions.open()).toEqual(['a']);
    await sessions.dispose();
    expect(events.at(-1)).toBe('close a');
  });
  it('wait for calls in progress when they are disposed, and accept no more', async () => {
    const { events, sessions, use } = noted(1);
    const { opened, release } = gate();
    const slow = use('a', async () => {
      await opened;
      events.push('ran');
      return 'a';
    });
    const disposed = sessions.dispose();
    expect(() => use('a')).toThrow('createOps: the ops were disposed');
    release();
    await disposed;
    expect(await slow).toBe('a');
    expect(events).toEqual(['open a', 'ran', 'close a']);
    await sessions.dispose();
    expect(events.length).toBe(3);
  });
  it('are opened again after a failure', async () => {
    const { sessions, use } = noted(2);
    const failing = () =>
      sessions.use(
        'a',
        () => Promise.reject(new Error('no memory')),
        async (s) => s,
      );
    await expect(failing()).rejects.toThrow('no memory');
    expect(await use('a')).toBe('a');
    await expect(use('a', () => Promise.reject(new Error('failed run')))).rejects.toThrow('failed run');
    expect(sessions.open()).toEqual(['a']);
    await sessions.dispose();
  });
  it('report in dispose that one could not be closed', async () => {
    const sessions = boundedSessions<string>(1, () => Promise.reject(new Error('stuck')));
    await sessions.use(
      'a',
      async () => 'a',
      async (s) => s,
    );
    await expect(sessions.dispose()).rejects.toThrow('stuck');
  });
});

/** The runtime, and the sessions of it that are open. */
function counting() {
  const open = new Set<OrtSession>();
  let opened = 0;
  const ort = {
    ...(node as unknown as Ort),
    InferenceSession: {
      async create(model: unknown, options: unknown) {
        const session = await (node as unknown as Ort).InferenceSession.create(model, options);
        open.add(session);
        opened++;
        return new Proxy(session, {
          get(target, name) {
            if (name === 'release')
              return () => {
                open.delete(session);
                return session.release();
              };
            const value = Reflect.get(target, name, target) as unknown;
            return typeof value === 'function' ? value.bind(target) : value;
          },
        });
      },
    },
  } as Ort;
  return { ort, open, opened: () => opened };
}

describe('the sessions of ops', () => {
  const x = (batch: number, seq: number) => random('x', [batch, seq, 3, 5]);

  it('serve other sizes and other data; other kinds have their own', async () => {
    const { ort, open, opened } = counting();
    const xops = createOps({ ort, target: targets.cpu });
    const self = (t: ReturnType<typeof x>, attnBias?: Parameters<typeof xops.memoryEfficientAttention>[3]) =>
      xops.memoryEfficientAttention(t, t, t, attnBias);
    await self(x(2, 7));
    await self(x(3, 11));
    await Promise.all([self(x(1, 2)), self(x(2, 5)), self(x(5, 3))]);
    expect(opened()).toBe(1);
    expect(xops.sessions.map(({ op, runs }) => [op, runs])).toEqual([['memoryEfficientAttention', 5]]);
    await self(x(2, 7), { attnBias: new LowerTriangularMask() });
    await self(x(2, 7), { scale: 0.5 });
    await self(x(1, 7), { attnBias: BlockDiagonalMask.fromSeqlens([3, 4]) });
    await self(x(1, 9), { attnBias: BlockDiagonalMask.fromSeqlens([1, 1, 7]) });
    // One query, as in decoding.
    await xops.memoryEfficientAttention(x(2, 1), x(2, 7), x(2, 7));
    await xops.memoryEfficientAttention(x(2, 1), x(2, 8), x(2, 8));
    expect(opened()).toBe(5);
    expect(xops.sessions.map(({ runs }) => runs)).toEqual([5, 1, 1, 2, 2]);
    await xops.dispose();
    expect(open.size).toBe(0);
  });
  it('are bounded, and none is left open, also after calls at the same time', async () => {
    const { ort, open } = counting();
    const xops = createOps({ ort, target: targets.cpu, maxSessions: 2 });
    const calls = [0.1, 0.2, 0.3, 0.1, 0.2, 0.3].map((scale) =>
      xops.memoryEfficientAttention(x(2, 3), x(2, 3), x(2, 3), { scale }),
    );
    await Promise.all([...calls, xops.rmsNorm(x(2, 3)), xops.layerNorm(x(2, 3))]);
    expect(xops.sessions.length).toBe(2);
    const last = xops.swiglu(
      random('x', [2, 5]),
      ...([7, 7, 7].flatMap((n, i) => [random('w', i < 2 ? [n, 5] : [5, n]), undefined]) as [
        never,
        never,
        never,
        never,
        never,
        never,
      ]),
    );
    await xops.dispose();
    expect((await last).dims).toEqual([2, 5]);
    expect(open.size).toBe(0);
    await expect(xops.rmsNorm(x(2, 3))).rejects.toThrow(RunError);
  });
});
