// What programs without types pass: arguments that are missing or of another kind are refused by name.
import { describe, ShapeError } from './error';
import { type DType, dtypes } from './tensor/tensor';

/** What an argument must be, in words and as a test. Each is a constant of its own, so that a block loads only those that it needs. */
export type ArgumentKind = readonly [expected: string, fits: (argument: unknown) => boolean];

/** True for an object or a function with these properties. */
export const has = (a: unknown, ...names: readonly string[]): boolean => isObject(a) && names.every((name) => name in a);
const isObject = (a: unknown): a is object => Object(a) === a;

const isMask = (a: unknown): boolean => has(a, 'class', 'parts');

export const aValue: ArgumentKind = ['a value of a graph', (a) => has(a, 'graph', 'dims')];
export const graphOrValue: ArgumentKind = [
  'a graph or a value',
  (a) => has(has(a, 'graph') ? (a as { graph: unknown }).graph : a, 'root'),
];
/** Kind of argument: an object that is not a list. */
export const anObject: ArgumentKind = ['an object', (a) => has(a) && !Array.isArray(a)];
export const aList: ArgumentKind = ['a list', Array.isArray];
/** Kind of argument: a function. */
export const aFunction: ArgumentKind = ['a function', (a) => typeof a === 'function'];
export const aText: ArgumentKind = ['a text', (a) => typeof a === 'string'];
export const aNumber: ArgumentKind = ['a number', (a) => typeof a === 'number' || typeof a === 'boolean'];
/** Kind of argument: an integer of at least 1. */
export const aSize: ArgumentKind = ['an integer of at least 1', (a) => Number.isSafeInteger(a) && (a as number) > 0];
export const someNumbers: ArgumentKind = ['numbers', (a) => has(a, 'length')];
export const aDtype: ArgumentKind = ['a dtype', (a) => dtypes.includes(a as DType)];
export const someBytes: ArgumentKind = ['a Uint8Array', (a) => ArrayBuffer.isView(a)];
export const aTensor: ArgumentKind = ['a tensor', (a) => has(a, 'dtype', 'dims', 'data')];
export const aMask: ArgumentKind = ['a mask', isMask];
export const aMaskEach: ArgumentKind = ['masks', (a) => (a as readonly unknown[]).every(isMask)];
export const aMap: ArgumentKind = ['a Map', (a) => has(a, 'get')];
export const aLayout: ArgumentKind = ['a layout', (a) => has(a, 'kind')];
export const statesWithContext: ArgumentKind = ['hidden states with their context', (a) => has(a, 'hiddenStates', 'ctx')];
export const aModule: ArgumentKind = ['a module', (a) => typeof a === 'function' && has(a, 'children', 'about')];

/** The error for an argument that is missing or of another kind, from what it should be. */
export const wrongArgument = (path: string, name: string, expected: string, argument: unknown) => ({
  path,
  problem: argument === undefined ? `the argument ${name} is missing` : `wrong argument ${name}`,
  expected,
  got: describe(argument),
  hint: `Pass ${expected} as ${name} of ${path}`,
});

/**
 * Checks the arguments of an op, or of another function that blocks call, before it reads them. Arguments without a kind are values of a graph.
 *
 * Throws   ShapeError naming the function, the argument, what is expected and what was passed
 */
export function given(
  path: string,
  named: Readonly<Record<string, unknown>>,
  kinds: Readonly<Record<string, ArgumentKind>> = {},
): void {
  for (const [name, argument] of Object.entries(named)) {
    const [expected, fits] = kinds[name] ?? aValue;
    if (!fits(argument)) throw new ShapeError(wrongArgument(path, name, expected, argument));
  }
}
