// Waiting that can be given up, or takes so long and no longer.

/** The promise's result, or the reason of the signal when that aborts first. What the promise stands for goes on, unseen. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const give = () => reject(signal.reason);
    if (signal.aborted) give();
    signal.addEventListener('abort', give, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', give));
  });
}

/** The promise's result; `late` is called, and may throw, when there is none after so many milliseconds. What it waited for goes on where it does not throw. */
export function within<T>(promise: Promise<T>, milliseconds: number, late: () => void): Promise<T> {
  // A timer takes no longer time, and would ring at once.
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
