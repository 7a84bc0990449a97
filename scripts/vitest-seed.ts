// Property tests try the same cases in every run, so that a run can be repeated; FAST_CHECK_SEED=<number> tries others.
import fc from 'fast-check';
import { InferenceSession } from 'onnxruntime-node';

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.FAST_CHECK_SEED ?? 20_261_121) });

// SESSION_OPTIONS='{"intraOpNumThreads":2,"graphOptimizationLevel":"all"}' opens every session of onnxruntime-node with these options instead of a test's own.
if (process.env.SESSION_OPTIONS) {
  const forced = JSON.parse(process.env.SESSION_OPTIONS) as InferenceSession.SessionOptions;
  const create = InferenceSession.create.bind(InferenceSession) as (...args: unknown[]) => Promise<InferenceSession>;
  InferenceSession.create = (async (...args: unknown[]) => {
    const at = args.findIndex(
      (x, i) => i > 0 && typeof x === 'object' && x !== null && !ArrayBuffer.isView(x) && !(x instanceof ArrayBuffer),
    );
    if (at < 0) return create(...args, forced);
    const own = args[at] as Record<string, unknown>;
    // A test of options of a wrong type keeps them.
    const changed = Object.entries(forced).filter(
      ([name, value]) => own[name] === undefined || typeof own[name] === typeof value,
    );
    return create(...args.with(at, { ...own, ...Object.fromEntries(changed) }));
  }) as typeof InferenceSession.create;
}
