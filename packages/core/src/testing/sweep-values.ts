// The values at which a field may break, from its own definition: its bounds, what lies just outside them, and what is not a value of it at all.
import type { AnyBlock } from '../block/block-definition';
import type { Field } from '../config/fields';

/** What the JSON Schema of a value says of it. */
interface Bounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly enum?: readonly string[];
}

const notNumbers = ['2', null, true, Number.NaN, Number.POSITIVE_INFINITY] as const;

/**
 * The edge values of a field, refused ones too; `undefined` stands for an absent field. `given` is its value in a config that is right. Slots are
 * given every registered block of their kind by its name.
 */
export function edgeValues(field: Field, given: unknown, blocks: readonly AnyBlock[]): readonly unknown[] {
  const own = ofType[field.type](field, given, blocks);
  return [...new Set([undefined, ...own])];
}

const ofType: {
  readonly [T in Field['type']]: (field: Field, given: unknown, blocks: readonly AnyBlock[]) => readonly unknown[];
} = {
  int(field, given) {
    const { minimum, maximum } = boundsOf(field);
    const near = [minimum, maximum].flatMap((n) => (isUsual(n) ? [n - 1, n, n + 1] : []));
    const beside = typeof given === 'number' ? [given - 1, given + 1, 2 * given] : [];
    return [...near, ...beside, -1, 0, 1, 2, 3, 4, 8, 97, 2 ** 20 + 7, 2 ** 31 - 1, 2 ** 31, 2 ** 53, 1.5, ...notNumbers];
  },
  num(field, given) {
    const bounds = boundsOf(field);
    const near = [bounds.minimum, bounds.maximum, bounds.exclusiveMinimum, bounds.exclusiveMaximum].flatMap((n) =>
      isUsual(n) ? [n - 1e-3, n, n + 1e-3] : [],
    );
    const beside = typeof given === 'number' ? [-given, 2 * given, given / 2] : [];
    return [...near, ...beside, -1, -0.5, -0, 0, 0.25, 1, 3, 1e-6, 1e4, 1e-30, 1e30, 1e-300, 1e300, ...notNumbers];
  },
  bool: () => [true, false, 0, 'true', null],
  text: () => ['', 'a', 'é', 'a.b', 0, null],
  choice: (field) => [...(boundsOf(field).enum ?? []), '', 'none of these', 0, null],
  list: (_, given) =>
    Array.isArray(given) ? [given, given.slice(1), [...given, ...given], [], 0, null] : [[], [0], [1, 2], 0, null],
  fn: () => [0, 'f', null],
  slot: (field, _, blocks) => [...namesFor(field, blocks), 'none of these', 0, null],
  each(field, _, blocks) {
    const names = namesFor(field, blocks);
    return [...names, [], [names[0]], [names[0], names.at(-1)], 'none of these', 0, null];
  },
};

const namesFor = ({ kind }: Field, blocks: readonly AnyBlock[]): readonly string[] =>
  blocks.filter((b) => b.kind === kind).map((b) => b.blockName);
const boundsOf = ({ schema }: Field): Bounds => (schema ?? {}) as Bounds;
// Every integer has the bounds of exact ones.
const isUsual = (n: number | undefined): n is number => n !== undefined && Math.abs(n) < 2 ** 52;
