// Whether a thread may be terminated, in memory that both of its sides share.
//
// Native code cannot be interrupted. If its thread is terminated meanwhile, it fails as soon as it returns, and onnxruntime-node then aborts the whole process. So a
// thread that has loaded native code is asked to end, and ends by itself when it executes JavaScript again.

/** The state of one thread. */
export type ThreadState = Int32Array;

const [free, native, terminated, ended] = [0, 1, 2, 3];

/** The state of a thread that has not loaded native code. */
export const newState = (): ThreadState => new Int32Array(new SharedArrayBuffer(4));

/** In the thread, before it loads native code. False if the other side is terminating it. */
export const beginNative = (state: ThreadState): boolean => Atomics.compareExchange(state, 0, free, native) === free;

/** In the thread: what it loaded is not native. */
export const endNative = (state: ThreadState): void => void Atomics.compareExchange(state, 0, native, free);

/** In the thread, when it ends. */
export function announceEnd(state: ThreadState): void {
  Atomics.store(state, 0, ended);
  Atomics.notify(state, 0);
}

/** On the other side: whether the thread may be terminated. If so, it loads no native code from now on. */
export function mayTerminate(state: ThreadState): boolean {
  Atomics.compareExchange(state, 0, free, terminated);
  return Atomics.load(state, 0) !== native;
}

/** On the other side: blocks until the thread may be terminated. */
export function awaitEnd(state: ThreadState): void {
  while (!mayTerminate(state)) Atomics.wait(state, 0, native);
}
