import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ConfigError, WeightError } from '../error';
import { distributionOf, fanIn, fansOf, type Init, normal, ones, type Role, unset, values, zeros } from '../parameter/init';
import { bytesOfTensor, tensor, toArray } from '../tensor/convert';
import { countOf, type DType } from '../tensor/tensor';
import { deepNormCoefficients } from './deep-norm';
import { fill } from './fill';
import { chooseInit, initializeParameters } from './initialize';
import { randomStream } from './random';
import { type Initializable, type SchemeName, schemes } from './schemes';

/** What the original did with each parameter of 24 models: the rule and its arguments. */
interface Recorded {
  readonly scheme: SchemeName;
  readonly residual: string;
  readonly model: string;
  readonly encoderLayers: number;
  readonly decoderLayers: number;
  readonly parameters: readonly (readonly [
    name: string,
    dims: number[],
    rule: string,
    args?: Readonly<Record<string, number>>,
  ])[];
}
const recorded: readonly Recorded[] = JSON.parse(readFileSync(new URL('./fixtures/scheme-rules.json', import.meta.url), 'utf8'));

const roles: readonly (readonly [RegExp, Role | undefined, (dims: readonly number[]) => Init])[] = [
  [/norm\.weight$/, 'norm', () => ones],
  [/norm\.bias$/, 'norm', () => zeros],
  [/_embeddings\./, 'embedding', () => normal(0.02)],
  [/pos_emb$/, 'position', () => normal(0.02)],
  [/q_proj/, 'query', fanInOf],
  [/k_proj/, 'key', fanInOf],
  [/v_proj/, 'value', fanInOf],
  [/\.mlp\./, 'hidden', fanInOf],
  // A convolution in a feed-forward has a rule of its own, which the original forgot under two schemes.
  [
    /conv_mlp.*weight$/,
    undefined,
    ([out, , ...kernel]) => normal(Math.sqrt(2 / (countOf(kernel) * (kernel[0] === 3 ? 1 : out!)))),
  ],
  [/conv_mlp/, undefined, () => zeros],
  [/patch_emb|attention\.block/, 'convolution', fanInOf],
  [/attention\.(E|F|value_q|score_network)/, 'mechanism', fanInOf],
  [/(out_)?proj\./, 'output', fanInOf],
];
function fanInOf(dims: readonly number[]): Init {
  return fanIn(dims.length > 1 ? fansOf(dims)[0] : 8);
}

function parameterOf(name: string, dims: readonly number[]): Initializable {
  const [, role, init] = roles.find(([pattern]) => pattern.test(name))!;
  // Positions without a table keep their own values.
  const part = name.endsWith('bias') ? 'bias' : name.endsWith('pos_emb') ? 'other' : 'weight';
  return { dims, init: init(dims), options: { ...(role && { role }), part } };
}

const gainOf = ({ residual, encoderLayers, decoderLayers }: Recorded) => {
  const { encoder, decoder } = deepNormCoefficients({ encoderLayers, decoderLayers });
  return (path: string) => (residual !== 'deepnorm' ? 1 : (path.startsWith('encoders') ? encoder : decoder)!.beta);
};

function expectRule(init: Init, own: Init, dims: readonly number[], rule: string, args: Readonly<Record<string, number>> = {}) {
  const close = (got: number, expected: number | undefined) => expect(Math.abs(got / expected! - 1)).toBeLessThan(1e-12);
  if (rule === 'constructor default') return expect(init).toBe(own);
  if (rule === 'zeros_') return expect(init).toEqual(zeros);
  const d = init.kind === 'uniform' ? init : distributionOf(init as never, () => fansOf(dims));
  if (rule === 'uniform_' && d.kind === 'uniform') [close(d.low, args.a), close(d.high, args.b)];
  else if (rule === 'small_init' && d.kind === 'uniform') {
    const bound = args.gain! * Math.sqrt(6 / (dims[1]! + 4 * dims[0]!));
    [close(d.low, -bound), close(d.high, bound)];
  } else if (rule === 'normal_' && d.kind === 'normal') close(d.std, args.std);
  else if (rule === 'trunc_normal' && d.kind === 'truncated_normal')
    [close(d.std, args.std), close(d.low, args.a), close(d.high, args.b)];
  else if (rule === 'xavier_uniform_' && init.kind === 'xavier_uniform') close(init.gain!, args.gain ?? 1);
  else if (rule === 'lecun_normal' && init.kind === 'lecun_normal') close(init.gain!, args.gain ?? 1);
  else expect.fail(`${init.kind} for ${rule}`);
}

describe('schemes', () => {
  it('choose for every recorded parameter the rule and arguments that the original chose', () => {
    let checked = 0;
    for (const model of recorded) {
      const gain = gainOf(model);
      for (const [name, dims, rule, args] of model.parameters) {
        const p = parameterOf(name, dims);
        const init = chooseInit(p, { scheme: model.scheme, compat: 'xformers' }, gain(name));
        if (name.includes('conv_mlp')) expect(init).toBe(p.init);
        else expectRule(init, p.init, dims, rule, args);
        checked++;
      }
    }
    expect(checked).toBe(944);
  });

  it('exclude queries and keys from the gain, as the paper does', () => {
    for (const scheme of ['vit', 'small', 'timm', 'moco'] as const) {
      for (const role of ['query', 'key', 'value', 'output', 'hidden']) {
        const p: Initializable = { dims: [11, 7], init: fanIn(), options: { role } };
        const gained = role === 'query' || role === 'key' ? 1 : 0.5;
        expect(chooseInit(p, { scheme }, 0.5)).toEqual(schemes[scheme](role, p, gained));
        expect(chooseInit(p, { scheme, compat: 'xformers' }, 0.5)).toEqual(schemes[scheme](role, p, 0.5));
        expect(chooseInit(p, { scheme }, 0.5)).not.toEqual(schemes[scheme](role, p, 0.25));
      }
    }
  });

  it('do not change parameters without a role, with a role of your own, or that are neither weight nor bias', () => {
    const own = normal(3);
    for (const scheme of Object.values(schemes)) {
      for (const role of [undefined, 'mine', 'constructor', 'norm'])
        expect(scheme(role, { dims: [3, 2], init: own }, 0.5)).toBe(own);
      expect(scheme('query', { dims: [3, 2], init: own, options: { part: 'other' } }, 0.5)).toBe(own);
    }
  });

  it('use the own rule of convolutions in feed-forwards, and with compat the fan in under vit and small', () => {
    const p: Initializable = { dims: [11, 7, 3, 3], init: normal(0.3), options: { role: 'spatial' } };
    for (const scheme of ['default', 'vit', 'small', 'timm', 'moco'] as const) {
      expect(chooseInit(p, { scheme }, 0.5)).toBe(p.init);
      const forgotten = scheme === 'vit' || scheme === 'small';
      expect(chooseInit(p, { scheme, compat: 'xformers' }, 0.5)).toEqual(forgotten ? fanIn() : p.init);
    }
  });

  it('treat layers packed into one weight each by itself', () => {
    const packed = [
      { rows: 8, role: 'query' },
      { rows: 4, role: 'value' },
    ];
    const weight: Initializable = { dims: [12, 5], init: fanIn(), options: { packed } };
    expect(chooseInit(weight, { scheme: 'vit' }, 0.5)).toEqual({
      kind: 'rows',
      parts: [
        { rows: 8, init: { kind: 'xavier_uniform', gain: 1 } },
        { rows: 4, init: { kind: 'xavier_uniform', gain: 0.5 } },
      ],
    });
    const given = values(tensor('float32', [1], [1]));
    expect(chooseInit({ dims: [1], init: given, options: { packed } }, {})).toBe(given);
  });

  it('use given fans', () => {
    const p: Initializable = { dims: [4, 11, 5], init: fanIn(), options: { role: 'query', fans: [5, 11] } };
    expect(chooseInit(p, { scheme: 'small' })).toMatchObject({ kind: 'uniform', high: Math.sqrt(6 / 49) });
  });
});

describe('initializeParameters', () => {
  const parameters: [string, Initializable & { options?: { dtype?: DType } }][] = [
    ['b', { dims: [13, 7], init: fanIn(), options: { role: 'query' } }],
    ['a', { dims: [13], init: zeros, options: { role: 'query', part: 'bias' } }],
    ['router', { dims: [3, 7], init: normal(1), options: { dtype: 'float32' } }],
  ];

  it('makes lazy tensors that depend only on seed and path', async () => {
    const [one, other] = [
      initializeParameters(parameters, { seed: 5, scheme: 'vit' }),
      initializeParameters([...parameters].reverse().slice(0, 3), { seed: 5, scheme: 'vit' }),
    ];
    for (const [path, weight] of one) {
      expect(await weight.load()).toEqual(await other.get(path)!.load());
      expect(weight.loadSync!()).toEqual(await weight.load());
    }
    const b = await one.get('b')!.load();
    expect(b).toEqual(fill({ kind: 'xavier_uniform' }, [13, 7], randomStream(5, 'b')));
    expect(await initializeParameters(parameters, { seed: 6, scheme: 'vit' }).get('b')!.load()).not.toEqual(b);
  });

  it('uses the dtype of the model, or that of the parameter if it has one', () => {
    const weights = initializeParameters(parameters, { dtype: 'bfloat16' });
    expect([...weights].map(([path, w]) => [path, w.dtype, w.byteLength])).toEqual([
      ['b', 'bfloat16', 182],
      ['a', 'bfloat16', 26],
      ['router', 'float32', 84],
    ]);
    expect(weights.get('router')!.loadSync!().dtype).toBe('float32');
    expect(bytesOfTensor(weights.get('b')!.loadSync!()).length).toBe(182);
  });

  it('applies the gain of each path', () => {
    const p = { dims: [13, 7], init: fanIn(), options: { role: 'value' } };
    const of = (gain: number) =>
      toArray(
        initializeParameters([['w', p]], { scheme: 'moco', gain: (path) => (path === 'w' ? gain : 99) }).get('w')!.loadSync!(),
      ).data;
    expect([...of(0.5)]).toEqual([...of(1)].map((x) => x / 2));
  });

  it('computes nothing before it is loaded', () => {
    const weights = initializeParameters([['huge', { dims: [1_000_000, 1_000_000], init: normal(1) }]]);
    expect(weights.get('huge')!.byteLength).toBe(4e12);
  });

  it('refuses a parameter without an initialisation, unless the option allows it', () => {
    const params = [['a.weight', { dims: [2], init: unset }]] as const;
    expect(() => initializeParameters(params)).toThrow(WeightError);
    expect(() => initializeParameters(params)).toThrow('a.weight: this parameter has no initialisation');
    expect(initializeParameters(params, { uninitialized: 'zeros' }).get('a.weight')!.loadSync!()).toEqual(
      tensor('float32', [2], [0, 0]),
    );
    expect(initializeParameters([['a', { dims: [2, 3], init: unset, options: { role: 'head' } }]], { scheme: 'vit' }).size).toBe(
      1,
    );
  });

  it('refuses other nonsense at once', () => {
    expect(() => initializeParameters([], { scheme: 'vti' as SchemeName })).toThrow(
      'initialize.scheme: wrong value; expected "default" or "vit" or "small" or "timm" or "moco", got "vti". Did you mean "vit"?',
    );
    expect(() => initializeParameters([], { scheme: 'toString' as SchemeName })).toThrow(ConfigError);
    expect(() => initializeParameters([], { seed: -1 })).toThrow(ConfigError);
    expect(() => initializeParameters([['x.bias', { dims: [3], init: fanIn() }]])).toThrow(
      'x.bias: the initialisation requires a fan in',
    );
  });
});

describe('deepNormCoefficients', () => {
  it('are those of the original', () => {
    const table: [number, number, ([number, number] | undefined)?, [number, number]?][] = [
      [1, 0, [1.189207115002721, 0.5946035575013605]],
      [6, 0, [1.8612097182041991, 0.37991784282579627]],
      [24, 0, [2.6321480259049848, 0.2686424829558855]],
      [0, 2, undefined, [Math.SQRT2, 0.5]],
      [0, 12, undefined, [2.213363839400643, 0.3194715521231362]],
      [6, 6, [1.417938140685523, 0.49698924077132345], [2.0597671439071177, 0.34329452398451965]],
      [12, 3, [1.6147318394007082, 0.4364192138934614], [1.7320508075688772, 0.408248290463863]],
      [3, 18, [1.2770851770414957, 0.5518034448042948], [2.7108060108295344, 0.26084743001221455]],
    ];
    for (const [encoderLayers, decoderLayers, ...expected] of table) {
      const { encoder, decoder } = deepNormCoefficients({ encoderLayers, decoderLayers });
      [encoder, decoder].forEach((got, i) => {
        expect(got === undefined).toBe(expected[i] === undefined);
        if (!got) return;
        expect(Math.abs(got.alpha / expected[i]![0] - 1)).toBeLessThan(1e-15);
        expect(Math.abs(got.beta / expected[i]![1] - 1)).toBeLessThan(1e-15);
      });
    }
    expect(deepNormCoefficients({})).toEqual({});
  });

  it('refuse an invalid number of layers', () => {
    expect(() => deepNormCoefficients({ encoderLayers: -1 })).toThrow(ConfigError);
    expect(() => deepNormCoefficients({ decoderLayers: 1.5 })).toThrow(
      'decoderLayers: not a valid number of layers; expected an integer >= 0, got 1.5',
    );
  });
});
