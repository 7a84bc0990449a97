// A bounded number of open sessions, each opened when it is first needed; the one that has not been used for the longest time is closed.
import { RunError } from '@onnxformers/core';

interface Entry<S> {
  readonly opened: Promise<S>;
  /** Set when it is open. */
  session?: S;
  users: number;
}

/** Sessions by key. */
export interface Sessions<S> {
  /** Those that are open, the most recently used last. */
  open(): readonly S[];
  /** Opens the session of the key, unless it is open or being opened, and uses it. It is not closed before `task` has ended. */
  use<T>(key: string, open: () => Promise<S>, task: (session: S) => Promise<T>): Promise<T>;
  /** Waits for what is running, and closes all. Calling it again only waits again. */
  dispose(): Promise<void>;
}

/** At most `most` sessions that are not in use stay open. `close` frees one. */
export function boundedSessions<S>(most: number, close: (session: S) => Promise<void>): Sessions<S> {
  const kept = new Map<string, Entry<S>>();
  const running = new Set<Promise<unknown>>();
  const closing: Promise<void>[] = [];
  let disposed: Promise<void> | undefined;

  const remove = (key: string, { opened }: Entry<S>): void => {
    kept.delete(key);
    const closed = opened.then(close);
    // Reported by dispose.
    closed.catch(() => {});
    closing.push(closed);
  };
  const trim = (): void => {
    for (const [key, entry] of kept) {
      if (kept.size <= most) return;
      if (entry.users === 0) remove(key, entry);
    }
  };
  async function run<T>(key: string, open: () => Promise<S>, task: (session: S) => Promise<T>): Promise<T> {
    const entry = kept.get(key) ?? { opened: open(), users: 0 };
    // To the end of the map: the least recently used one is the first.
    kept.delete(key);
    kept.set(key, entry);
    entry.users++;
    trim();
    try {
      entry.session ??= await entry.opened.catch((error: unknown) => {
        if (kept.get(key) === entry) kept.delete(key);
        throw error;
      });
      return await task(entry.session);
    } finally {
      entry.users--;
      trim();
    }
  }
  return {
    open: () => [...kept.values()].flatMap(({ session }) => (session === undefined ? [] : [session])),
    use(key, open, task) {
      if (disposed) throw new RunError({ path: 'createOps', problem: 'the ops were disposed', hint: 'Create others' });
      const result = run(key, open, task);
      const done = (): boolean => running.delete(settled);
      const settled: Promise<boolean> = result.then(done, done);
      running.add(settled);
      return result;
    },
    dispose() {
      disposed ??= Promise.all(running).then(async () => {
        for (const [key, entry] of kept) remove(key, entry);
        await Promise.all(closing);
      });
      return disposed;
    },
  };
}
