// The parts of onnxruntime-node and onnxruntime-web that are used, typed here so that neither must be installed.
import { ConfigError, describe } from '../error';
import { arrayOf, type DType, type Tensor, type TensorData } from '../tensor/tensor';

/** A tensor of the runtime. */
export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
  /** Memory of the elements: `cpu`, `gpu-buffer`, … */
  readonly location?: string;
  /** The elements, copied to the CPU. */
  getData?(release?: boolean): Promise<unknown>;
  /** Frees its memory outside of JavaScript. */
  dispose?(): void;
}

/** A session of the runtime. */
export interface OrtSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Runs the model. */
  // biome-ignore lint/suspicious/noExplicitAny: the runtimes overload it
  run(feeds: any, fetches: any, options?: any): Promise<Readonly<Record<string, OrtTensor>>>;
  /** Frees the session. */
  release(): Promise<void>;
}

/** A runtime: `import * as ort from 'onnxruntime-node'`, or from 'onnxruntime-web/webgpu'. */
export interface Ort {
  readonly Tensor: new (
    // biome-ignore lint/suspicious/noExplicitAny: the runtimes overload it by type
    type: any,
    // biome-ignore lint/suspicious/noExplicitAny: see above
    data: any,
    dims: readonly number[],
  ) => OrtTensor;
  readonly InferenceSession: {
    /** Opens a model: a path in Node, bytes anywhere. */
    // biome-ignore lint/suspicious/noExplicitAny: see above
    create(model: any, options?: any): Promise<OrtSession>;
  };
  readonly env?: { readonly versions?: { readonly common?: string; readonly node?: string; readonly web?: string } };
  /** The providers that the binary knows; onnxruntime-node only. */
  listSupportedBackends?(): readonly { readonly name: string; readonly bundled: boolean }[];
}

/** The package of a runtime. */
export type RuntimeName = 'onnxruntime-node' | 'onnxruntime-web';

const isOrt = (x: unknown): x is Ort =>
  (typeof x === 'object' || typeof x === 'function') && x !== null && 'InferenceSession' in x && 'Tensor' in x;

/** A runtime, also if it was imported as a module with a default export. */
export function asOrt(given: unknown): Ort {
  if (isOrt(given)) return given;
  const { default: inner } = (given ?? {}) as { readonly default?: unknown };
  if (isOrt(inner)) return inner;
  throw new ConfigError({
    path: 'runtime',
    problem: 'not a runtime',
    expected: 'the module onnxruntime-node or onnxruntime-web',
    got: describe(given),
    hint: "import * as ort from 'onnxruntime-node' and pass ort",
  });
}

/** The package of a runtime; undefined for an unknown one. */
export function nameOfRuntime(ort: Ort): RuntimeName | undefined {
  // Both may share one `env`, but only onnxruntime-node lists its backends.
  if (ort.listSupportedBackends) return 'onnxruntime-node';
  return ort.env?.versions?.web === undefined ? undefined : 'onnxruntime-web';
}

/** The version of a runtime: `1.30.0`. */
export const versionOf = (ort: Ort): string | undefined =>
  ort.env?.versions?.[nameOfRuntime(ort) === 'onnxruntime-node' ? 'node' : 'web'];

/** Whether a feed is a tensor of the runtime. */
export const isOrtTensor = (feed: unknown): feed is OrtTensor =>
  typeof feed === 'object' && feed !== null && !('dtype' in feed) && 'type' in feed && 'dims' in feed && 'location' in feed;

/** Whether the elements of a tensor of the runtime are in other memory than that of the CPU, where they cannot be read directly. */
export const isAway = (t: OrtTensor | undefined): boolean => t?.location !== undefined && t.location !== 'cpu';

/** A tensor of the runtime as our Tensor; without its elements if they are in other memory. */
export function viewOf(t: OrtTensor): Tensor {
  const dtype = t.type as DType;
  return { dtype, dims: t.dims, data: isAway(t) ? new (arrayOf(dtype) ?? Uint8Array)(0) : (t.data as TensorData) };
}

/** A tensor for the runtime; the elements are not copied. */
function toOrtTensor(ort: Ort, { dtype, dims, data }: Tensor): OrtTensor {
  const made = new ort.Tensor(dtype, data, dims);
  // If JavaScript has Float16Array, the runtime's tensor converts bit patterns to one, which onnxruntime-node (1.30) then cannot read.
  if (dtype === 'float16' && !(made.data instanceof Uint16Array)) return { type: dtype, dims, data, location: 'cpu' };
  return made;
}

/** The feed for the runtime: the caller's own runtime tensor if the session can read it. */
export const forRuntime = (ort: Ort, handed: OrtTensor | undefined, tensor: Tensor): OrtTensor =>
  handed && (tensor.dtype !== 'float16' || (handed.location ?? 'cpu') !== 'cpu' || handed.data instanceof Uint16Array)
    ? handed
    : toOrtTensor(ort, tensor);

/** A tensor from the runtime; undefined if its elements must be copied to the CPU. 16-bit floats are bit patterns, also if JavaScript has Float16Array. */
export function fromOrtTensor(t: OrtTensor): Tensor | undefined {
  if (t.getData && t.location !== undefined && t.location !== 'cpu') return undefined;
  return ofData(t, t.data as TensorData);
}

/** A copy of a tensor of the runtime in CPU memory, from any memory. */
export const copyOrtTensor = async (t: OrtTensor): Promise<Tensor> =>
  ofData(t, (isAway(t) ? await t.getData!() : (t.data as TensorData).slice()) as TensorData);

/** The elements of a tensor in other memory, which is freed. */
export const fetchOrtTensor = async (t: OrtTensor): Promise<Tensor> => ofData(t, (await t.getData!(true)) as TensorData);

const ofData = ({ type, dims }: OrtTensor, data: TensorData): Tensor => ({
  dtype: type as DType,
  dims,
  data: type === 'float16' ? bitsOf(data) : data,
});

/** The bit patterns of 16-bit floats, in any type of array. */
export const bitsOf = (data: TensorData): Uint16Array =>
  data instanceof Uint16Array ? data : new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
