// The sizes for which a condition holds, as text: `seq <= 32`.
import { addDims, type Dim, floorDivDims, mulDims, subDims } from '../dim/dim';
import type { Op } from '../ir/define-op';
import { madeBy, type Value } from '../ir/graph';
import { toArray } from '../tensor/convert';
import { Cast } from './cast';
import { And, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Not, Or } from './comparison';
import { Add, Div, Max, Min, Mod, Mul, Sub } from './elementwise';
import { Reshape, Squeeze, Unsqueeze } from './reshape';
import { Shape } from './shape';

/** A condition that depends only on sizes. */
export interface SizeCondition {
  /** The sizes for which it is true: `seq <= 32`. */
  readonly holds: string;
  /** Those for which it is false: `seq > 32`. */
  readonly fails: string;
}

const comparisons: readonly (readonly [op: Op, holds: string, fails: string])[] = [
  [Less, '<', '>='],
  [LessOrEqual, '<=', '>'],
  [Greater, '>', '<='],
  [GreaterOrEqual, '>=', '<'],
  [Equal, '=', '≠'],
];

/** The sizes for which a condition (bool []) is true or false; undefined if it depends on anything else. */
export function sizeCondition(condition: Value): SizeCondition | undefined {
  const { op, operands } = condition.producer ?? {};
  if (op === Not) {
    const of = sizeCondition(operands![0]!);
    return of && { holds: of.fails, fails: of.holds };
  }
  if (op === And || op === Or) {
    const [a, b] = operands!.map((v) => sizeCondition(v!));
    if (!a || !b) return undefined;
    const [both, either] = op === And ? (['holds', 'fails'] as const) : (['fails', 'holds'] as const);
    return {
      [both]: `${grouped(a[both])} and ${grouped(b[both])}`,
      [either]: `${grouped(a[either])} or ${grouped(b[either])}`,
    } as Record<'holds' | 'fails', string>;
  }
  const comparison = comparisons.find(([of]) => of === op);
  if (!comparison) return undefined;
  const [a, b] = operands!.map((v) => sizeText(v!));
  if (a === undefined || b === undefined) return undefined;
  const [, holds, fails] = comparison;
  return { holds: `${a} ${holds} ${b}`, fails: `${a} ${fails} ${b}` };
}

const grouped = (text: string): string => (/ (and|or) /.test(text) ? `(${text})` : text);

function sizeText(v: Value): string | undefined {
  const { op, operands } = v.producer ?? {};
  if (op === Min || op === Max) {
    const of = operands!.map((o) => sizeText(o!));
    return of.includes(undefined) ? undefined : `${op === Min ? 'min' : 'max'}(${of.join(', ')})`;
  }
  const d = sizeOf(v);
  return d === undefined ? undefined : String(d);
}

const arithmetic: ReadonlyMap<string, (a: Dim, b: Dim) => Dim | undefined> = new Map([
  [Add.key, addDims],
  [Sub.key, subDims],
  [Mul.key, mulDims],
  [Div.key, (a: Dim, b: Dim) => (isDivisor(b) ? floorDivDims(a, b) : undefined)],
  [Mod.key, (a: Dim, b: Dim) => (isDivisor(b) ? subDims(a, mulDims(floorDivDims(a, b), b)) : undefined)],
]);
const isDivisor = (d: Dim): boolean => typeof d === 'number' && d > 0;
const passesOn: ReadonlySet<string> = new Set([Reshape.key, Squeeze.key, Unsqueeze.key, Cast.key]);

/** The symbolic size of an integer value of one element. */
function sizeOf(v: Value): Dim | undefined {
  if (v.dtype !== 'int64' && v.dtype !== 'int32') return undefined;
  if (v.leaf?.kind === 'constant') {
    const { data } = toArray(v.leaf.tensor);
    return data.length === 1 ? data[0] : undefined;
  }
  if (!v.producer) return undefined;
  const { op, operands } = v.producer;
  const shape = madeBy(v, Shape);
  if (shape) {
    const dims = operands[0]!.dims.slice(shape.attrs.start, shape.attrs.end);
    return dims.length === 1 ? dims[0] : undefined;
  }
  if (passesOn.has(op.key)) return sizeOf(operands[0]!);
  const calculate = arithmetic.get(op.key);
  if (!calculate) return undefined;
  const [a, b] = operands.map((o) => sizeOf(o!));
  return a === undefined || b === undefined ? undefined : calculate(a, b);
}
