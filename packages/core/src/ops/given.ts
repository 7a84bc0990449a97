// What programs without types pass: arguments of ops that are missing or of another kind are refused by name.
import { describe, ShapeError } from '../error';
import { Value } from '../ir/graph';
import { type DType, dtypes } from '../tensor/tensor';

type Kind = readonly [expected: string, fits: (argument: unknown) => boolean];

const isObject = (a: unknown): boolean => typeof a === 'object' && a !== null && !Array.isArray(a);
const aValue: Kind = ['a value of a graph', (a) => a instanceof Value];
const list: Kind = ['a list', Array.isArray];
const callback: Kind = ['a function', (a) => typeof a === 'function'];

/** By the name of the parameter or option, which means the same in every op; any other name is a value. */
const kinds: Readonly<Record<string, Kind>> = {
  source: ['a graph or a value', (a) => isObject(a) && 'root' in ((a instanceof Value ? a.graph : a) as object)],
  options: ['an object', isObject],
  mask: ['a mask', (a) => isObject(a) && 'class' in (a as object)],
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
};

/**
 * Checks the arguments of an op before it reads them.
 *
 * Throws   ShapeError naming the op, the argument, what is expected and what was passed
 */
export function given(op: string, named: Readonly<Record<string, unknown>>): void {
  for (const [name, argument] of Object.entries(named)) {
    const [expected, fits] = kinds[name.replace('options.', '')] ?? aValue;
    if (fits(argument)) continue;
    const problem = argument === undefined ? `the argument ${name} is missing` : `wrong argument ${name}`;
    const hint = `Pass ${expected} as ${name} of ops.${op}`;
    throw new ShapeError({ path: op, problem, expected, got: describe(argument), hint });
  }
}
