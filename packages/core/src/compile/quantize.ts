// Weight-only quantization: which matrices of a model are stored in which format, and their values from those of a checkpoint.
import { checkArguments } from '../arguments';
import { ConfigError, checkOptions, describe, nearest } from '../error';
import { type AnyModule, namesOf } from '../module/module';
import { type Parametrization, reparametrize } from '../module/reparametrize';
import { cast } from '../ops/cast';
import { unset } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { type BlockFormat, checkFormat, quantizeBlocks, quantizedBlocks } from '../parametrizations/quantized-blocks';
import { castTensor } from '../tensor/convert';
import { bytesOf, countOf, type DType, type Tensor } from '../tensor/tensor';
import type { LazyTensor } from '../weights/lazy';
import { matchWeights, type WeightSource } from '../weights/load';

/** A 16-bit dtype that a matrix can be stored in. */
type HalfDType = 'float16' | 'bfloat16';

/** Options of codes in blocks; see {@link BlockFormat}. */
export type CodeOptions = Pick<BlockFormat, 'bits'> & Partial<BlockFormat>;

/**
 * How a matrix is stored: `'int4'` and `'int8'` as codes in blocks of 32 with scales, an object as codes of its description, `'float16'` and `'bfloat16'` in 16 bits,
 * `'none'` in the dtype of the model.
 */
export type WeightFormat = 'int4' | 'int8' | HalfDType | 'none' | CodeOptions;

/** Options of weight-only quantization. */
export interface QuantizeOptions extends Partial<BlockFormat> {
  /** Formats by role: `{ head: 'int8', embedding: 'float16' }`. */
  readonly roles?: Readonly<Record<string, WeightFormat>>;
  /** The format of one matrix; undefined leaves the choice to its role. */
  readonly select?: (path: string, parameter: Parameter) => WeightFormat | undefined;
}

/** `'int4'` or `'int8'` for all matrices, or a mixture. */
export type Quantize = 'int4' | 'int8' | QuantizeOptions;

/** Roles whose matrices stay in the model's dtype unless `roles` names them: small ones that decide much, and tables that nothing multiplies. */
const kept: readonly string[] = ['convolution', 'mechanism', 'norm', 'position', 'router'];

const words = ['int4', 'int8', 'float16', 'bfloat16', 'none'] as const;
const defaultBlock = 32;

/** A module whose matrices are stored in other formats. */
export interface QuantizedModule<M extends AnyModule> {
  readonly module: M;
  /** Weights by the names of the new parameters; each is quantised when it is read. */
  readonly weights: ReadonlyMap<string, LazyTensor>;
  /** The format of each matrix that has another one than the model's, by the path of the original weight. */
  readonly formats: ReadonlyMap<string, BlockFormat | HalfDType>;
}

/**
 * Weight-only quantization (quantization of weights, not of activations): the same module with matrices stored as codes of 4 or 8 bits, with one scale for each block
 * of columns. Linear layers become MatMulNBits and embeddings GatherBlockQuantized where the target has them. Matrices of the roles
 * `position`, `norm`, `router`, `convolution` and `mechanism`, and parameters that are not matrices, stay as they are; an embedding that is also the head is one
 * matrix, with the role `embedding`. `compile` calls it for its option `quantize`.
 *
 *     w = (code − zero point) · scale
 *
 * Throws   ConfigError for a wrong option, and if no matrix is selected · WeightError for weights that are missing, unknown or of other dims; when
 *          loaded, ConfigError for weights that are not finite
 *
 * Example  const small = quantizeWeights(block, initialize(block, { seed: 1 }), { bits: 4, roles: { head: 'int8', embedding: 'float16' } });
 */
export function quantizeWeights<M extends AnyModule>(module: M, weights: WeightSource, quantize: Quantize): QuantizedModule<M> {
  checkArguments('quantizeWeights', { module, source: weights });
  const { module: quantized, formats } = quantizedModule(module, quantize);
  const { parameters, aliases } = namesOf(module);
  const all = matchWeights(
    [...parameters].map(([path, { dims }]) => [path, { dims }] as const),
    weights,
    { aliases },
  );
  return { module: quantized, weights: quantizedWeights(all.weights, formats), formats };
}

/** The module and its formats, without weights. `except` are parameters that are not stored. */
export function quantizedModule<M extends AnyModule>(
  module: M,
  quantize: Quantize,
  except: ReadonlySet<Parameter> = new Set(),
): Pick<QuantizedModule<M>, 'module' | 'formats'> {
  const formatOf = chooser(quantize);
  const { parameters } = namesOf(module);
  const formats = new Map<string, BlockFormat | HalfDType>();
  for (const [path, p] of parameters) {
    const format = except.has(p) || !isMatrix(path, p) ? undefined : formatOf(path, p);
    if (format) formats.set(path, format);
  }
  if (!formats.size)
    throw new ConfigError({
      path: 'quantize',
      problem: 'no matrix is selected',
      expected: 'weights of linear layers or embeddings, in float',
      got: [...parameters.keys()].slice(0, 8).join(', '),
      hint: 'A model can be quantised once; matrices are parameters called weight with two dims',
    });
  const small = reparametrize(module, (path, p) => {
    const format = formats.get(path);
    return format && parametrization(p, format);
  });
  return { module: small, formats };
}

/** The values of the new parameters. Scales have the dtype of the weight, or the one given. */
export function quantizedWeights(
  weights: ReadonlyMap<string, LazyTensor>,
  formats: QuantizedModule<AnyModule>['formats'],
  scaleDtype?: DType,
): ReadonlyMap<string, LazyTensor> {
  const made = new Map<string, LazyTensor>();
  for (const [path, weight] of weights) {
    const format = formats.get(path);
    const at = path.slice(0, path.lastIndexOf('.') + 1);
    if (!format) made.set(path, weight);
    else for (const [name, part] of partsOf(weight, format, scaleDtype ?? weight.dtype)) made.set(at + name, part);
  }
  return made;
}

/** What replaces a matrix. */
export const parametrization = (p: Parameter, format: BlockFormat | HalfDType): Parametrization =>
  typeof format === 'string' ? halves(p, format) : quantizedBlocks(p, format);

const isMatrix = (path: string, p: Parameter): boolean =>
  p.dims.length === 2 && p.options.part === 'weight' && /(^|\.)weight$/.test(path) && p.options.dtype === undefined;

function chooser(quantize: Quantize): (path: string, p: Parameter) => BlockFormat | HalfDType | undefined {
  if (typeof quantize !== 'string' && (typeof quantize !== 'object' || quantize === null))
    throw wrong('quantize', "'int4', 'int8' or an object of options", quantize);
  if (typeof quantize === 'string' && quantize !== 'int4' && quantize !== 'int8')
    throw wrong('quantize', "'int4', 'int8' or an object of options", quantize, nearest(quantize, ['int4', 'int8']));
  const { roles = {}, select, ...own } = typeof quantize === 'string' ? ({ ...named(quantize) } as QuantizeOptions) : quantize;
  const options = { bits: 4, ...own } as CodeOptions;
  checkOptions('quantize', { roles, select, ...own }, { roles: true, select: true, ...blockOptions });
  const usual = resolved(options, 'quantize');
  if (typeof roles !== 'object' || roles === null) throw wrong('quantize.roles', 'formats by role', roles);
  if (select !== undefined && typeof select !== 'function')
    throw wrong('quantize.select', 'a function of path and parameter', select);
  const byRole = new Map(Object.entries(roles).map(([role, f]) => [role, resolved(f, `quantize.roles.${role}`)] as const));
  return (path, p) => {
    const chosen = select?.(path, p);
    if (chosen !== undefined) return resolved(chosen, `quantize.select("${path}")`);
    const role = p.options.role ?? '';
    return byRole.has(role) ? byRole.get(role) : kept.includes(role) ? undefined : usual;
  };
}

const blockOptions = { bits: true, blockSize: true, zeroPoints: true, accuracyLevel: true } as const;
const named = (word: 'int4' | 'int8'): BlockFormat => ({ bits: word === 'int4' ? 4 : 8, blockSize: defaultBlock });

function resolved(format: WeightFormat, path: string): BlockFormat | HalfDType | undefined {
  if (format === 'none') return undefined;
  if (format === 'float16' || format === 'bfloat16') return format;
  if (format === 'int4' || format === 'int8') return named(format);
  if (typeof format !== 'object' || format === null) {
    const near = typeof format === 'string' ? nearest(format, words) : undefined;
    throw wrong(path, `${words.join(', ')}, or { bits, blockSize, zeroPoints, accuracyLevel }`, format, near);
  }
  const complete = { blockSize: defaultBlock, ...format };
  checkFormat(path, complete);
  return complete;
}

const wrong = (path: string, expected: string, got: unknown, near?: string): ConfigError =>
  new ConfigError({
    path,
    problem: 'not a format of weights',
    expected,
    got: describe(got),
    ...(near && { hint: `Did you mean "${near}"?` }),
  });

const halfName = 'weight_half';

/** A matrix in 16 bits, widened where it is used. */
function halves({ dims, options: { role } }: Parameter, dtype: HalfDType): Parametrization {
  const half = new Parameter(dims, unset, { ...(role !== undefined && { role }), part: 'other', trainable: false, dtype });
  return { parameters: { [halfName]: half }, replaces: true, value: (_, g) => cast(g.param(half), g.dtype) };
}

function partsOf(weight: LazyTensor, format: BlockFormat | HalfDType, scaleDtype: DType): [string, LazyTensor][] {
  const { dims } = weight;
  if (typeof format === 'string')
    return [
      [
        halfName,
        {
          dtype: format,
          dims,
          byteLength: bytesOf(format, countOf(dims)),
          load: async () => castTensor(await weight.load(), format),
        },
      ],
    ];
  // The parts are made together and read one after another; what was not read yet is kept.
  const waiting = new Map<string, Tensor>();
  const part = async (name: string): Promise<Tensor> => {
    if (!waiting.has(name))
      for (const [n, t] of Object.entries(quantizeBlocks(await weight.load(), format, scaleDtype))) waiting.set(n, t);
    const made = waiting.get(name)!;
    waiting.delete(name);
    return made;
  };
  const { parameters } = quantizedBlocks(new Parameter(dims, unset), format);
  return Object.entries(parameters).map(([name, { dims, options }]) => {
    const dtype = options.dtype ?? scaleDtype;
    return [name, { dtype, dims, byteLength: bytesOf(dtype, countOf(dims)), load: () => part(name) }];
  });
}
