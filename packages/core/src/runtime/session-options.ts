// Options for the runtime, passed on unchanged unless they have no effect there.
import { ConfigError, checkWord, describe, nearest } from '../error';
import { nameOfRuntime, type Ort, type RuntimeName } from './ort';

type Options = Readonly<Record<string, unknown>>;

const common = [
  'graphOptimizationLevel',
  'enableCpuMemArena',
  'enableMemPattern',
  'executionMode',
  'enableProfiling',
  'logId',
  'logSeverityLevel',
  'externalData',
  'extra',
];

/** Options with an effect. */
const effective: Readonly<Record<RuntimeName, { readonly session: readonly string[]; readonly run: readonly string[] }>> = {
  'onnxruntime-node': {
    session: [...common, 'intraOpNumThreads', 'interOpNumThreads', 'optimizedModelFilePath', 'profileFilePrefix'],
    run: ['tag', 'logSeverityLevel'],
  },
  'onnxruntime-web': {
    session: [...common, 'logVerbosityLevel', 'freeDimensionOverrides'],
    run: ['tag', 'logSeverityLevel', 'logVerbosityLevel', 'terminate', 'extra'],
  },
};

/** Options of an execution provider with an effect; options of other providers are not checked. */
const providerOptions: Readonly<Record<RuntimeName, Readonly<Record<string, readonly string[]>>>> = {
  'onnxruntime-node': { cpu: [], cuda: ['deviceId'], tensorrt: ['deviceId'] },
  'onnxruntime-web': {
    wasm: [],
    cpu: [],
    webgpu: [
      'device',
      'preferredLayout',
      'validationMode',
      'forceCpuNodeNames',
      'storageBufferCacheMode',
      'uniformBufferCacheMode',
      'queryResolveBufferCacheMode',
      'defaultBufferCacheMode',
    ],
  },
};

const cacheModes = ['disabled', 'lazyRelease', 'simple', 'bucket'];

/** The values of options with a fixed set of values. */
const words: Readonly<Record<string, readonly string[]>> = {
  graphOptimizationLevel: ['disabled', 'basic', 'extended', 'layout', 'all'],
  executionMode: ['sequential', 'parallel'],
  preferredLayout: ['NCHW', 'NHWC'],
  validationMode: ['disabled', 'wgpuOnly', 'basic', 'full'],
  storageBufferCacheMode: cacheModes,
  uniformBufferCacheMode: cacheModes,
  queryResolveBufferCacheMode: cacheModes,
  defaultBufferCacheMode: cacheModes,
};

function checkWords(path: string, options: Options): void {
  for (const [key, value] of Object.entries(options))
    if (value !== undefined && Object.hasOwn(words, key)) checkWord(`${path}.${key}`, value, words[key]!);
}

/** The execution providers that a runtime knows. */
export function providersOf(ort: Ort): readonly string[] {
  const runtime = nameOfRuntime(ort);
  return ort.listSupportedBackends?.().map(({ name }) => name) ?? (runtime ? Object.keys(providerOptions[runtime]) : []);
}

/** The alternative. */
const advice: Readonly<Record<string, string>> = {
  freeDimensionOverrides: 'Set the sizes of the inputs when compiling',
  intraOpNumThreads: 'Set env.wasm.numThreads of the runtime before its first session',
  interOpNumThreads: 'Set env.wasm.numThreads of the runtime before its first session',
  preferredOutputLocation: 'Results are tensors in CPU memory',
  enableGraphCapture: 'It requires every input and output on the GPU, but a runner keeps them in CPU memory',
  executionProviders: 'Select the provider with the option device',
  terminate: 'A run cannot be stopped; use a worker runner and ignore its result',
};

/** The options, cloned, since the runtimes write into them. Throws ConfigError for one without effect. */
export function sessionOptions(ort: Ort, options: Options = {}): Record<string, unknown> {
  return checked(ort, options, 'session');
}

/** The same for the options of one run. */
export function runOptions(ort: Ort, options: Options = {}): Record<string, unknown> {
  return checked(ort, options, 'run');
}

function checked(ort: Ort, options: Options, of: 'session' | 'run'): Record<string, unknown> {
  const runtime = nameOfRuntime(ort);
  const path = of === 'session' ? 'options.session' : 'options.run';
  if (typeof options !== 'object' || options === null)
    throw new ConfigError({ path, problem: 'not options', expected: 'an object', got: describe(options) });
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || (key !== 'executionProviders' && (!runtime || effective[runtime][of].includes(key)))) continue;
    throw withoutEffect(`${path}.${key}`, key, value, runtime, runtime ? effective[runtime][of] : []);
  }
  checkWords(path, options);
  return cloned(options) as Record<string, unknown>;
}

/** An execution provider, by name or with its options. */
export type Provider = string | { readonly name: string; readonly [option: string]: unknown };

/** The provider, cloned. Throws ConfigError for an option without effect. */
export function providerOf(ort: Ort, provider: Provider): string | Record<string, unknown> {
  if (typeof provider === 'string') return provider;
  if (typeof provider !== 'object' || provider === null || typeof provider.name !== 'string')
    throw new ConfigError({
      path: 'options.device',
      problem: 'not a device',
      expected: "'auto', the name of a provider, or an object with its name and options",
      got: describe(provider),
    });
  const runtime = nameOfRuntime(ort);
  const known = runtime && providerOptions[runtime][provider.name];
  const { name: _, ...options } = provider;
  for (const [key, value] of Object.entries(options))
    if (known && !known.includes(key)) throw withoutEffect(`options.device.${key}`, key, value, runtime, known);
  checkWords('options.device', options);
  return cloned(provider) as Record<string, unknown>;
}

function withoutEffect(
  path: string,
  key: string,
  value: unknown,
  runtime: RuntimeName | undefined,
  known: readonly string[],
): ConfigError {
  const near = nearest(key, known);
  const hint =
    advice[key] ??
    (near ? `Did you mean "${near}"?` : known.length ? `Options with an effect: ${known.join(', ')}` : 'Leave it out');
  return new ConfigError({ path, problem: `the option has no effect in ${runtime ?? 'a runner'}`, got: describe(value), hint });
}

// Devices and byte arrays are passed on unchanged.
function cloned(x: unknown): unknown {
  if (Array.isArray(x)) return x.map(cloned);
  if (typeof x !== 'object' || x === null || Object.getPrototypeOf(x) !== Object.prototype) return x;
  return Object.fromEntries(Object.entries(x).map(([key, value]) => [key, cloned(value)]));
}
