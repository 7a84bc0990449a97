// Initialisation schemes: the initial values of a parameter by its role.
import {
  type Fans,
  fansOf,
  type Init,
  lecunNormal,
  normal,
  type Role,
  scaledInit,
  truncatedNormal,
  uniform,
  xavierUniform,
  zeros,
} from '../parameter/init';

/** The properties of a parameter that a scheme reads. */
export interface Initializable {
  readonly dims: readonly number[];
  readonly init: Init;
  readonly options?: {
    readonly role?: Role;
    /** Default: weight. */
    readonly part?: 'weight' | 'bias' | 'other';
    /** The fans, if dims do not determine them (several matrices in one weight). */
    readonly fans?: Fans;
    /** Layers that are concatenated in this parameter, such as q, k and v: each is initialised separately. */
    readonly packed?: readonly { readonly rows: number; readonly role: Role }[];
  };
}

/** Selects the initial values of a parameter. Gain is that of its stack (DeepNorm's beta), otherwise 1. */
export type Scheme = (role: Role | undefined, p: Initializable, gain: number) => Init;

interface Layer {
  readonly weight: (gain: number, p: Initializable) => Init;
  readonly bias?: Init;
}

// Roles of linear maps: they share one rule unless a scheme has a rule for the role.
const linear: ReadonlySet<Role> = new Set([
  'query',
  'key',
  'value',
  'output',
  'hidden',
  'head',
  'router',
  'mechanism',
  'projection',
]);

/** Parameters without a rule keep their own init: norms, positions, roles that no scheme has a rule for. */
function scheme(layers: Readonly<Record<string, Layer>>): Scheme {
  return (role = '', p, gain) => {
    const layer = Object.hasOwn(layers, role) ? layers[role] : linear.has(role) ? layers.linear : undefined;
    const part = p.options?.part ?? 'weight';
    if (!layer || part === 'other') return p.init;
    return part === 'bias' ? (layer.bias ?? p.init) : layer.weight(gain, p);
  };
}

const xavier: Layer = { weight: (gain) => xavierUniform(gain), bias: zeros };
const feedforward: Layer = { weight: (gain) => xavierUniform(gain), bias: normal(1e-6) };
const embedding: Layer = { weight: (gain, { init }) => (init.kind === 'normal' ? { ...init, std: init.std * gain } : init) };

function smallUniform(gain: number, { dims, options }: Initializable): Init {
  const [fanIn, fanOut] = options?.fans ?? fansOf(dims);
  const bound = gain * Math.sqrt(6 / (fanIn + 4 * fanOut));
  return uniform(-bound, bound);
}

function cutNormal(gain: number): Init {
  const std = 0.02 * gain;
  return truncatedNormal(std, -Math.sqrt(3) * std, Math.sqrt(3) * std);
}

/**
 * The schemes. `default` uses every parameter's own init, scaled by the gain for weights of linear maps; so does every scheme for parameters without a rule
 * below.
 *
 * | scheme | linear maps | feed-forward (`hidden`) | convolutions | embeddings |
 * | --- | --- | --- | --- | --- |
 * | vit | Xavier uniform, bias 0 | Xavier uniform, bias N(0, 1e-6) | LeCun normal, bias 0 | own |
 * | small | U(±gain · √(6 / (fan in + 4 fan out))), bias 0 | as vit | LeCun normal without gain, bias 0 | own |
 * | timm | normal, std 0.02 gain, truncated at ±√3 std, bias 0 | as linear | own | own, std · gain |
 * | moco | Xavier uniform, bias 0 | as linear | own | own, std · gain |
 *
 * Tables of position embeddings are embeddings. Convolutions within feed-forwards (`spatial`) use their own init in every scheme.
 *
 * Source of small: Nguyen and Salazar 2019, https://arxiv.org/abs/1910.05895
 */
export const schemes = {
  default: scheme({ linear: { weight: (gain, { init }) => scaledInit(init, gain) } }),
  vit: scheme({ linear: xavier, hidden: feedforward, convolution: { weight: (gain) => lecunNormal(gain), bias: zeros } }),
  small: scheme({
    linear: { weight: smallUniform, bias: zeros },
    hidden: feedforward,
    convolution: { weight: () => lecunNormal(), bias: zeros },
  }),
  timm: scheme({ linear: { weight: cutNormal, bias: zeros }, embedding, position: embedding }),
  moco: scheme({ linear: xavier, embedding, position: embedding }),
} satisfies Readonly<Record<string, Scheme>>;

/** The name of a scheme. */
export type SchemeName = keyof typeof schemes;
