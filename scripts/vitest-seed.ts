// Property tests try the same cases in every run, so that a run can be repeated; FAST_CHECK_SEED=<number> tries others.
import fc from 'fast-check';

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.FAST_CHECK_SEED ?? 20_261_121) });
