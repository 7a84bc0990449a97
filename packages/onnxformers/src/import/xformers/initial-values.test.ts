// The initial values of the original's models: which distribution each parameter has, for every scheme.
import { readFileSync } from 'node:fs';
import {
  ConfigError,
  type Init,
  initialize,
  initsOf,
  lazyTensor,
  namesOf,
  type SchemeName,
  type Tensor,
  tensor,
} from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { zoo } from '../../index';
import { fromXFormers, fromXFormersWeights, noCounterpart } from './index';

interface Recorded {
  readonly shape: readonly number[];
  readonly init: string;
  readonly kwargs?: Readonly<Record<string, number>>;
  readonly args?: readonly number[];
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
}
interface Case {
  readonly config: readonly object[];
  readonly parameters: Readonly<Record<string, Recorded>>;
}
const tables = JSON.parse(readFileSync(new URL('../../../fixtures/xformers/tables.json', import.meta.url), 'utf8'));
const cases = Object.entries(tables.weight_init as Record<string, Case>);

/** The largest absolute value, or the standard deviation before truncation: a distribution as text with its number. */
type Told = readonly [kind: string, size: number];

const fansOf = ([out, inner, ...kernel]: readonly number[]) => {
  const each = kernel.reduce((a, b) => a * b, 1);
  return [inner! * each, out! * each] as const;
};
const xavier = (dims: readonly number[], gain: number): Told => {
  const [fanIn, fanOut] = fansOf(dims);
  return ['uniform', gain * Math.sqrt(6 / (fanIn + fanOut))];
};

function recordedAs({ shape, init, kwargs = {}, args = [] }: Recorded): Told | undefined {
  const { gain = 1, std, a } = kwargs;
  switch (init) {
    case 'xavier_uniform_':
      return xavier(shape, gain);
    case 'small_init': {
      const [fanIn, fanOut] = fansOf(shape);
      return ['uniform', gain * Math.sqrt(6 / (fanIn + 4 * fanOut))];
    }
    case 'uniform_':
      return ['uniform', Math.abs(a!)];
    case 'lecun_normal':
      return ['truncated', Math.sqrt(gain / fansOf(shape)[0]) / 0.87962566103423978];
    case 'trunc_normal':
      return ['truncated', std!];
    case 'normal_':
      return ['normal', std ?? args[1]!];
    case 'zeros_':
      return ['constant', 0];
    case 'constructor default':
      return undefined;
    default:
      throw new Error(`no rule called ${init}`);
  }
}

function oursAs(init: Init, dims: readonly number[]): Told {
  switch (init.kind) {
    case 'xavier_uniform':
      return xavier(dims, init.gain ?? 1);
    case 'uniform':
      return ['uniform', init.high];
    case 'lecun_normal':
      return ['truncated', Math.sqrt((init.gain ?? 1) / fansOf(dims)[0]) / 0.87962566103423978];
    case 'truncated_normal':
      return ['truncated', init.std];
    case 'normal':
      return ['normal', init.std];
    case 'zeros':
      return ['constant', 0];
    case 'ones':
      return ['constant', 1];
    case 'constant':
      return ['constant', init.value];
    default:
      return [init.kind, Number.NaN];
  }
}

/** The block that is not here, if any. */
function missingIn(...args: Parameters<typeof fromXFormers>): string | undefined {
  try {
    fromXFormers(...args);
    return undefined;
  } catch (error) {
    if (error instanceof ConfigError && error.problem === noCounterpart) return error.got;
    throw error;
  }
}

const moments = ({ data }: Tensor) => {
  const values = Array.from(data as Float32Array);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return { mean, std: Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length) };
};

describe.each(cases)('%s', (name, { config, parameters }) => {
  const scheme = name.split('.')[0] as SchemeName;
  const original = { stack_configs: config, weight_init: scheme };
  const options = { compat: 'xformers' } as const;
  // Each recorded parameter by itself, to see what it is called here.
  const ourName = (theirs: string): string | undefined => {
    const one = new Map([[theirs, lazyTensor(tensor('float32', [1], [0]))]]);
    return [...fromXFormersWeights(one, original, options)].find(([, w]) => w === one.get(theirs))?.[0];
  };

  it('has the recorded distribution of every parameter', async ({ skip }) => {
    const missing = missingIn(original, options);
    if (missing) return skip(`no such block yet: ${missing}`);
    const { config: ours, scheme: chosen } = fromXFormers(original, options);
    expect(chosen).toBe(scheme);
    const block = zoo.parse('model', ours);
    const inits = initsOf(block, { scheme, compat: 'xformers' });
    const values = initialize(block, { scheme, compat: 'xformers', seed: 7 });
    const { parameters: all, aliases } = namesOf(block);
    const wrong: string[] = [];
    let compared = 0;
    for (const [theirs, recorded] of Object.entries(parameters)) {
      const found = ourName(theirs);
      const own = found === undefined ? undefined : (aliases.get(found) ?? found);
      // Projections that the original never uses are not loaded.
      if (own === undefined) continue;
      compared++;
      const dims = all.get(own)!.dims;
      if (`${dims}` !== `${recorded.shape}`) wrong.push(`${theirs}: [${dims}] instead of [${recorded.shape}]`);
      const expected = recordedAs(recorded);
      const got = oursAs(inits.get(own)!, dims);
      if (expected) {
        if (expected[0] !== got[0] || Math.abs(expected[1] - got[1]) > 1e-9 + 1e-9 * expected[1])
          wrong.push(`${theirs} (${recorded.init}): ${got} instead of ${expected}`);
        continue;
      }
      // The constructor's own values are known from their statistics only: within six standard errors of both samples.
      const { mean, std } = moments((await values.get(own)!.load()) as Tensor);
      const count = dims.reduce((a, b) => a * b, 1);
      const error = (6 * Math.max(std, recorded.std) * Math.SQRT2) / Math.sqrt(count);
      if (Math.abs(mean - recorded.mean) > error + 1e-6 || Math.abs(std - recorded.std) > error + 1e-6)
        wrong.push(`${theirs}: mean ${mean} and deviation ${std} instead of ${recorded.mean} and ${recorded.std}`);
    }
    expect(wrong).toEqual([]);
    // Of attention that owns its projections, the original has eight more that it never uses.
    expect(Object.keys(parameters).length - compared).toBeLessThanOrEqual(8);
  });
});
