// What programs without types pass: arguments that are missing or of another kind are refused by name.
import { describe, type ErrorDetails, type OnnxformersError, ShapeError } from './error';
import { type DType, dtypes } from './tensor/tensor';

/** What an argument must be, in words and as a test. */
export type ArgumentKind = readonly [expected: string, fits: (argument: unknown) => boolean];

/** Kinds of arguments by the name of the parameter or option. */
export type ArgumentKinds = Readonly<Record<string, ArgumentKind>>;

const has = (a: unknown, ...names: readonly string[]): boolean =>
  typeof a === 'object' && a !== null && names.every((name) => name in a);
const isObject = (a: unknown): boolean => has(a) && !Array.isArray(a);
const isMask = (a: unknown): boolean => has(a, 'class', 'parts');
const aValue: ArgumentKind = ['a value of a graph', (a) => has(a, 'graph', 'dims')];
const object: ArgumentKind = ['an object', isObject];
const list: ArgumentKind = ['a list', Array.isArray];
const callback: ArgumentKind = ['a function', (a) => typeof a === 'function'];

/** Of ops and of what blocks call: the name means the same in all of them, and any other name is a value. */
const kinds: ArgumentKinds = {
  source: ['a graph or a value', (a) => has((a as { readonly graph?: unknown } | undefined)?.graph ?? a, 'root')],
  options: object,
  ctx: ['a context', isObject],
  changes: object,
  prefix: object,
  layout: ['a layout', (a) => has(a, 'kind')],
  hiddenStates: ['hidden states with their context', (a) => has(a, 'hiddenStates', 'ctx')],
  tensor: ['a tensor', (a) => has(a, 'dtype', 'dims', 'data')],
  definition: ['a definition', (a) => has(a, 'kind', 'name', 'fields')],
  field: ['a field', (a) => has(a, 'expected')],
  children: object,
  op: ['an op', (a) => has(a, 'key')],
  module: ['a module', (a) => typeof a === 'function' && 'children' in a],
  mask: ['a mask', isMask],
  masks: ['masks', (a) => (a as readonly unknown[]).every(isMask)],
  values: ['numbers', (a) => has(a, 'length')],
  bytes: ['a Uint8Array', (a) => ArrayBuffer.isView(a)],
  dims: list,
  repeats: list,
  parts: list,
  starts: list,
  before: list,
  after: list,
  axes: list,
  perm: list,
  xs: list,
  near: list,
  carried: list,
  key: list,
  equation: ['a text', (a) => typeof a === 'string'],
  dtype: ['a dtype', (a) => dtypes.includes(a as DType)],
  value: ['a number', (a) => typeof a === 'number' || typeof a === 'boolean'],
  yes: callback,
  no: callback,
  body: callback,
  infer: callback,
  make: callback,
  forward: callback,
  match: callback,
  f: callback,
};

/**
 * Checks the arguments of an op, or of a function that blocks call, before it reads them.
 *
 * Throws   ShapeError naming the function, the argument, what is expected and what was passed
 */
export function given(
  path: string,
  named: Readonly<Record<string, unknown>>,
  more: ArgumentKinds = kinds,
  Refusal: new (details: ErrorDetails) => OnnxformersError = ShapeError,
): void {
  for (const [name, argument] of Object.entries(named)) {
    const [expected, fits] = more[name.replace('options.', '')] ?? aValue;
    if (fits(argument)) continue;
    const problem = argument === undefined ? `the argument ${name} is missing` : `wrong argument ${name}`;
    throw new Refusal({ path, problem, expected, got: describe(argument), hint: `Pass ${expected} as ${name} of ${path}` });
  }
}
