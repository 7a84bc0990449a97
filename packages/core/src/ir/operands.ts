// The names of an op's operands: rules, definitions, targets and errors use these instead of positions.
import { internal } from '../error';

/** Names in order. A name that ends in `?` is optional. */
export type OperandNames = readonly string[];

type Optional<N extends string> = N extends `${infer Name}?` ? Name : never;
type Required<N extends string> = N extends `${string}?` ? never : N;
/** Operands by name; omitted optional ones are absent or undefined. */
export type NamedOperands<N extends OperandNames, V> = { readonly [K in Required<N[number]>]: V } & {
  readonly [K in Optional<N[number]>]?: V | undefined;
};
/** An op, or the names of its operands, for use within its own definition. */
type Named<N extends OperandNames> = N | { readonly key: string; readonly operands?: N | undefined };

const bare = (name: string): string => name.replace(/\?$/, '');

/** The operands of an op by name, from those in order: of a node, or as `infer`, `decompose` and `evaluate` get them. */
export function operandsOf<N extends OperandNames, V>(op: Named<N>, given: readonly (V | undefined)[]): NamedOperands<N, V> {
  const named = Object.fromEntries(namesOf(op).map((name, i) => [bare(name), given[i]]));
  return named as NamedOperands<N, V>;
}

/** The operands of an op in order, from those by name. */
export function inOrder<N extends OperandNames, V>(op: Named<N>, named: NamedOperands<N, V>): readonly (V | undefined)[] {
  const values: Readonly<Record<string, V | undefined>> = named;
  return namesOf(op).map((name) => values[bare(name)]);
}

/** One operand of a node by name, for code that knows its op only by its key. */
export function operandOf<V>({ op, operands }: NodeOf<V>, name: string): V | undefined {
  const at = namesOf(op).findIndex((own) => bare(own) === name);
  if (at < 0) throw internal(`${op.key} has no operand ${name}`);
  return operands[at];
}
interface NodeOf<V> {
  readonly op: { readonly key: string; readonly operands?: OperandNames | undefined };
  readonly operands: readonly (V | undefined)[];
}

/** The error in a number of operands, if any: a required one is missing, or there are more operands than names. */
export function wrongOperands(
  names: OperandNames,
  given: readonly unknown[],
): { readonly problem: string; readonly expected: string } | undefined {
  const missing = names.find((name, i) => !name.endsWith('?') && given[i] === undefined);
  const expected = names.join(', ');
  if (missing !== undefined) return { problem: `the operand ${missing} is missing`, expected };
  return given.length > names.length ? { problem: 'there are too many operands', expected } : undefined;
}

/** Operands for errors: `weight float32[3, 5]`; without names only the types. */
export const labelled = (names: OperandNames | undefined, printed: readonly string[]): string =>
  printed.map((text, i) => (names?.[i] === undefined ? text : `${bare(names[i]!)} ${text}`)).join(', ');

function namesOf<N extends OperandNames>(op: Named<N>): N {
  const names = 'key' in op ? op.operands : op;
  if (!names) throw internal(`${(op as { readonly key: string }).key} names no operands`);
  return names;
}
