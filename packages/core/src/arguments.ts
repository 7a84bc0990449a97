// What the arguments of public functions are, by the names of their parameters. For functions that blocks call, see given.ts.
import { ConfigError } from './error';
import {
  type ArgumentKind,
  aDtype,
  aFunction,
  aList,
  aMask,
  aModule,
  anObject,
  aText,
  aValue,
  has,
  wrongArgument,
} from './given';

const having = (expected: string, ...names: readonly string[]): ArgumentKind => [expected, (a) => has(a, ...names)];
const listOf = (expected: string, fits: (a: unknown) => boolean): ArgumentKind => [
  expected,
  (a) => Array.isArray(a) && a.every(fits),
];
const numbers = listOf('a list of numbers', (a) => typeof a === 'number');
const values = listOf('a list of values of a graph', aValue[1]);
const entries: ArgumentKind = ['a Map from names to tensors', (a) => has(a) && Symbol.iterator in (a as object)];
const isEntry = (a: unknown): boolean => Array.isArray(a) && a.length >= 2;

/** The same name means the same in all of them; any other name is an object. */
const kinds: Readonly<Record<string, ArgumentKind>> = {
  // Models
  module: aModule,
  // In memory, or as a runner opens it.
  model: ['a compiled model', (a) => has(a, 'graph', 'target') || has(a, 'file', 'signature')],
  graph: having('a graph', 'nodes', 'outputs'),
  builder: having('a graph that is being built', 'root'),
  onnx: having('an ONNX model', 'graph', 'opsets'),
  ort: having('a module of ONNX Runtime', 'InferenceSession'),
  files: ['files', (a) => has(a, 'open') || has(a, 'get')],
  folder: having('files of a checkpoint', 'open'),
  pretrained: having('the result of fromPretrained', 'module', 'weights'),
  checkpoint: having('a checkpoint', 'has'),
  reader: having('a config as configReader returns it', 'text', 'section'),
  picture: having('a picture of a graph', 'inputs', 'nodes', 'outputs'),
  explanation: having('the result of explain', 'target', 'blocks'),
  summary: having('the result of summary', 'root'),
  inspection: having('the result of inspect', 'opsets'),
  target: having('a target', 'name'),
  port: having('a worker or another end of messages', 'postMessage', 'addEventListener'),
  thread: anObject,
  // Tensors and weights
  tensor: having('a tensor', 'dtype', 'dims'),
  tensors: entries,
  dtype: aDtype,
  dims: numbers,
  operands: listOf('a list of tensors', (a) => has(a, 'dtype', 'dims')),
  bytes: ['a Uint8Array', (a) => a instanceof Uint8Array],
  file: having('a source of bytes', 'size', 'read'),
  parameter: having('a parameter', 'dims', 'options'),
  parameters: entries,
  source: ['a Map from names to weights', (a) => a instanceof Map || has(a, 'get', 'keys')],
  pairs: listOf('a list of pairs of names', isEntry),
  // Graphs
  loss: aValue,
  x: aValue,
  run: aValue,
  outputs: values,
  wrt: listOf('a list of values or parameters', (a) => has(a, 'dims')),
  seeds: aList,
  mask: aMask,
  // Functions
  make: aFunction,
  open: aFunction,
  select: aFunction,
  expression: aFunction,
  // Texts
  path: aText,
  dir: aText,
  index: aText,
  address: aText,
  text: aText,
  // Lists
  grid: numbers,
  groups: numbers,
  order: numbers,
  lengths: numbers,
  sequences: aList,
  stages: listOf('a list of stages', (a) => has(a)),
  shown: listOf('a list of masks with titles', (a) => has(a, 'mask')),
};

/**
 * Checks the arguments of a public function before it reads them. A name that ends with `?` may be undefined.
 *
 * Throws   ConfigError naming the function, the argument, what is expected and what was passed
 */
export function checkArguments(path: string, named: Readonly<Record<string, unknown>>): void {
  for (const [key, argument] of Object.entries(named)) {
    const name = key.replace('?', '');
    const [expected, fits] = kinds[name] ?? anObject;
    const absent = argument === undefined && key !== name;
    if (!absent && !fits(argument)) throw new ConfigError(wrongArgument(path, name, expected, argument));
  }
}
