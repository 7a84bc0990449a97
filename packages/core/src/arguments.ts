// What the arguments of public functions are, by the names of their parameters.

import { ConfigError } from './error';
import { type ArgumentKind, type ArgumentKinds, given } from './given';
import { type DType, dtypes } from './tensor/tensor';

const has = (a: unknown, ...names: readonly string[]): boolean =>
  ((typeof a === 'object' && a !== null) || typeof a === 'function') && names.every((name) => name in a);
const having = (expected: string, ...names: readonly string[]): ArgumentKind => [expected, (a) => has(a, ...names)];
const listOf = (expected: string, fits: (a: unknown) => boolean): ArgumentKind => [
  expected,
  (a) => Array.isArray(a) && a.every(fits),
];

const isTensor = (a: unknown): boolean => has(a, 'dtype', 'dims');
const isEntry = (a: unknown): boolean => Array.isArray(a) && a.length >= 2;
const object: ArgumentKind = ['an object', (a) => has(a) && !Array.isArray(a)];
const text: ArgumentKind = ['a text', (a) => typeof a === 'string'];
const list: ArgumentKind = ['a list', Array.isArray];
const callback: ArgumentKind = ['a function', (a) => typeof a === 'function'];
const numbers = listOf('a list of numbers', (a) => typeof a === 'number');
const value = having('a value of a graph', 'graph', 'dims');
const values = listOf('a list of values of a graph', value[1]);
const entries: ArgumentKind = ['a Map from names to tensors', (a) => has(a) && Symbol.iterator in (a as object)];

const kinds: ArgumentKinds = {
  // Models
  module: ['a module', (a) => typeof a === 'function' && 'about' in a && 'children' in a],
  model: having('a compiled model', 'signature'),
  graph: having('a graph', 'nodes', 'outputs'),
  onnx: having('an ONNX model', 'graph', 'opsets'),
  ort: having('a module of ONNX Runtime', 'InferenceSession'),
  files: ['files', (a) => has(a, 'open') || has(a, 'get')],
  pretrained: having('the result of fromPretrained', 'module', 'weights'),
  checkpoint: having('a checkpoint', 'has'),
  reader: having('a config as configReader returns it', 'text', 'section'),
  picture: having('a picture of a graph', 'inputs', 'nodes', 'outputs'),
  explanation: having('the result of explain', 'target', 'blocks'),
  summary: having('the result of summary', 'root'),
  inspection: having('the result of inspect', 'opsets'),
  target: having('a target', 'name'),
  port: having('a worker or another end of messages', 'postMessage', 'addEventListener'),
  thread: object,
  // Tensors and weights
  tensor: ['a tensor', isTensor],
  tensors: entries,
  dtype: ['a dtype', (a) => dtypes.includes(a as DType)],
  dims: numbers,
  operands: listOf('a list of tensors', isTensor),
  bytes: ['a Uint8Array', (a) => a instanceof Uint8Array],
  file: having('a source of bytes', 'size', 'read'),
  parameter: having('a parameter', 'dims', 'options'),
  parameters: entries,
  source: ['a Map from names to weights', (a) => a instanceof Map || has(a, 'get', 'keys')],
  pairs: listOf('a list of pairs of names', isEntry),
  // Graphs
  loss: value,
  x: value,
  run: value,
  outputs: values,
  wrt: listOf('a list of values or parameters', (a) => has(a, 'dims')),
  seeds: list,
  mask: having('a mask', 'class', 'parts'),
  // Functions
  make: callback,
  open: callback,
  select: callback,
  expression: callback,
  // Texts
  path: text,
  dir: text,
  index: text,
  address: text,
  text,
  // Lists
  grid: numbers,
  groups: numbers,
  order: numbers,
  lengths: numbers,
  sequences: list,
  stages: listOf('a list of stages', (a) => has(a)),
  shown: listOf('a list of masks with titles', (a) => has(a, 'mask')),
};

/**
 * Checks the arguments of a public function before it reads them. A name that ends with `?` may be undefined.
 *
 * Throws   ConfigError naming the function, the argument, what is expected and what was passed
 */
export function checkArguments(path: string, named: Readonly<Record<string, unknown>>): void {
  for (const [name, argument] of Object.entries(named))
    if (argument !== undefined || !name.endsWith('?'))
      given(
        path,
        { [name.replace('?', '')]: argument },
        { [name.replace('?', '')]: kinds[name.replace('?', '')] ?? object },
        ConfigError,
      );
}
