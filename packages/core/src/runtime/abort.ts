// Waiting with an abort signal or a timeout.

/** The promise's result, or the reason of the signal when that aborts first. The work of the promise continues, and its result is ignored. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const give = () => reject(signal.reason);
    if (signal.aborted) give();
    signal.addEventListener('abort', give, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', give));
  });
}

/** The promise's result. `late` is called, and may throw, if there is none after this many milliseconds. If it does not throw, waiting continues. */
export function within<T>(promise: Promise<T>, milliseconds: number, late: () => void): Promise<T> {
  // The maximum of a timer; a longer one would fire immediately.
  if (milliseconds >= 2 ** 31) return promise;
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      try {
        late();
      } catch (error) {
        reject(error);
      }
    }, milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
