// The options of compile(), checked before tracing.

import { type Dim, dim } from '../dim/dim';
import { ConfigError, checkOptions, checkWord, describe, nearest, ShapeError, unknownOption } from '../error';
import { assumptions } from '../ir/assumption';
import { type DeclaredRole, inputRoles } from '../ir/graph';
import { type AttentionSwitch, attentionSwitches } from '../lower/environment';
import type { Machine } from '../lower/target';
import { isModule } from '../module/module';
import { type DType, dtypes } from '../tensor/tensor';
import type { CompileOptions } from './compile-options';

type Check = (value: unknown, path: string) => void;

function refuse(path: string, expected: string, got: unknown, hint?: string): never {
  throw new ConfigError({ path, problem: 'wrong value', expected, got: describe(got), ...(hint && { hint }) });
}
const check =
  (fits: (x: unknown) => boolean, expected: string, hint?: string): Check =>
  (value, path) => {
    if (!fits(value)) refuse(path, expected, value, hint);
  };
const isRecord = (x: unknown): x is Readonly<Record<string, unknown>> => typeof x === 'object' && x !== null && !Array.isArray(x);
const oneOf =
  (...words: readonly string[]): Check =>
  (value, path) =>
    checkWord(path, value, words);
const flag = check((x) => typeof x === 'boolean', 'true or false');
const texts = (what: string): Check =>
  check((x) => Array.isArray(x) && x.every((t) => typeof t === 'string'), `a list of ${what}`);

const isVersion = (x: unknown): boolean => typeof x === 'string' && /^\d+(\.\d+){0,3}$/.test(x);
const isTarget = (x: unknown): boolean =>
  isRecord(x) && isRecord(x.kernels) && Array.isArray(x.computes) && Array.isArray(x.providers);
const isState = (x: unknown): boolean =>
  x === 'io' ||
  typeof x === 'function' ||
  (isRecord(x) && (isRecord(x.paged) || (Number.isSafeInteger(x.io) && (x.io as number) > 0)));
function checkState(given: unknown, path: string): void {
  if (isRecord(given)) checkOptions(path, given as { readonly io: unknown; readonly paged: unknown }, { io: true, paged: true });
  const near = typeof given === 'string' ? nearest(given, ['io']) : undefined;
  const expected = "'io', { io: capacity }, { paged: … } or a function that returns a state";
  if (!isState(given)) refuse(path, expected, given, near && `Did you mean "${near}"?`);
}

const isRule = (x: unknown): boolean =>
  isRecord(x) && typeof x.name === 'string' && typeof x.op === 'string' && typeof x.match === 'function';

const checks: { readonly [N in keyof Required<CompileOptions>]: Check } = {
  target: check(isTarget, 'a target', 'Targets are objects: targets.cpu, targets.cuda, targets.portable(21)'),
  machine: checkMachine,
  dtype: oneOf('float32', 'float16', 'bfloat16'),
  strictDtype: flag,
  inputs: (given, path) => {
    if (!isRecord(given)) refuse(path, "inputs by name, such as { ids: ['int64', ['batch', 'seq']] }", given);
    // Assigning to this name in a record would change its prototype.
    if (Object.hasOwn(given, '__proto__'))
      refuse(path, 'a name that JavaScript does not reserve', '__proto__', 'Rename the input');
    if (Object.hasOwn(given, '')) refuse(path, 'a name', '');
    for (const [name, input] of Object.entries(given)) checkInput(input, `${path}.${name}`);
  },
  weights: check(
    (x) => x instanceof Map || (typeof x === 'object' && x !== null && Symbol.iterator in x),
    'a Map of weights by name',
    'new Map(Object.entries(weights)), or initialize(module)',
  ),
  quantize: check((x) => x === 'int4' || x === 'int8' || isRecord(x), "'int4', 'int8' or an object of options"),
  parameters: check((x) => typeof x === 'function', 'a function of path and parameter'),
  layout: oneOf('padded', 'packed'),
  state: checkState,
  draws: (given, path) => {
    if (!isRecord(given)) refuse(path, '{ seed: integer }', given);
    checkOptions(path, given as { readonly seed: unknown }, { seed: true });
    if (given.seed === undefined) refuse(path, '{ seed: integer }', given);
  },
  training: flag,
  taps: texts('module paths'),
  rules: check((x) => Array.isArray(x) && x.every(isRule), 'a list of rules', 'Make one with rule(name, op, match)'),
  assumptions: checkAssumptions,
  onProgress: check((x) => typeof x === 'function', 'a function that is called with the progress'),
};

function checkAssumptions(given: unknown, path: string): void {
  texts('assumptions')(given, path);
  for (const [i, name] of (given as readonly string[]).entries()) checkWord(`${path}[${i}]`, name, assumptions);
}

const machineChecks: { readonly [N in keyof Required<Machine>]: Check } = {
  runtime: check(isVersion, 'a version such as "1.30.0"'),
  sm: check(
    (x) => Number.isSafeInteger(x) && (x as number) >= 50 && (x as number) < 200,
    'the compute capability of a GPU times ten, 50 to 199',
    '9.0 is written 90',
  ),
  cudnn: check((x) => x === 'none' || isVersion(x), 'a version such as "9.14", or "none"'),
  environment: checkEnvironment,
};

function checkEnvironment(given: unknown, path: string): void {
  if (!isRecord(given)) refuse(path, "environment variables, such as { ORT_DISABLE_FLASH_ATTENTION: '1' }", given);
  for (const [name, value] of Object.entries(given)) {
    if (!attentionSwitches.includes(name as AttentionSwitch)) throw unknownOption(path, name, value, attentionSwitches);
    if (value !== undefined && !(typeof value === 'string' && /^\d{1,9}$/.test(value)))
      refuse(`${path}.${name}`, 'a number as text, such as "1"', value);
  }
}

function checkMachine(given: unknown, path: string): void {
  if (!isRecord(given)) refuse(path, 'properties of a machine, such as { sm: 90 }', given);
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(machineChecks, name)) throw unknownOption(path, name, value, Object.keys(machineChecks));
    if (value !== undefined) machineChecks[name as keyof Machine](value, `${path}.${name}`);
  }
}

function checkInput(input: unknown, path: string): void {
  const [dtype, dims, role, ...more] = Array.isArray(input) ? (input as readonly unknown[]) : [];
  if (!Array.isArray(dims) || more.length)
    refuse(path, "a dtype, dims and perhaps a role, such as ['float32', ['batch', 'seq', 64]]", input);
  if (role !== undefined && !inputRoles.includes(role as DeclaredRole)) {
    const near = typeof role === 'string' ? nearest(role, inputRoles) : undefined;
    refuse(`${path}[2]`, `a role: ${inputRoles.join(', ')}`, role, near && `Did you mean "${near}"?`);
  }
  if (!dtypes.includes(dtype as DType)) {
    const near = typeof dtype === 'string' ? nearest(dtype, dtypes) : undefined;
    refuse(path, `a dtype: ${dtypes.join(', ')}`, dtype, near && `Did you mean "${near}"?`);
  }
  dims.forEach((d: unknown, axis: number) => {
    const where = `${path}[1][${axis}]`;
    if (typeof d === 'number' ? !Number.isSafeInteger(d) || d < 0 : typeof d !== 'string')
      refuse(where, 'a size of at least 0, or the name of a size', d);
    checkSize(d as Dim, where);
  });
}

function checkSize(d: Dim, path: string): void {
  try {
    dim(d);
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    const { problem, expected, got } = cause;
    throw new ConfigError({ path, problem, ...(expected && { expected }), ...(got && { got }) }, { cause });
  }
}

/** Throws   ConfigError for a value that is not a module, an unknown option, or a wrong value */
export function checkCompile(module: unknown, options: unknown): void {
  if (!isModule(module))
    throw new ConfigError({
      path: 'compile',
      problem: 'not a module',
      expected: 'what a block, a registry or module() returns',
      got: describe(module),
      hint: 'Build one from a config with zoo.build(kind, config)',
    });
  if (!isRecord(options)) refuse('compile', 'options: { target, inputs, … }', options);
  for (const [name, value] of Object.entries(options)) {
    if (Object.hasOwn(checks, name)) {
      if (value !== undefined) checks[name as keyof CompileOptions](value, name);
      continue;
    }
    throw unknownOption('compile', name, value, Object.keys(checks));
  }
  for (const name of ['target', 'inputs'] as const) if (options[name] === undefined) checks[name](undefined, name);
}
