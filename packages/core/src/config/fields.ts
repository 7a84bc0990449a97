// Field makers: the options of a block, with check, default, documentation and type in one place.

/** Required; inherited from the enclosing block if absent; has a default; optional. */
export type Presence = 'required' | 'inherit' | 'default' | 'optional';

/** Options of every field maker. */
export interface FieldOptions<T> {
  readonly doc: string;
  /** `positions`, `channels`, `radians`. */
  readonly unit?: string;
  /** The default, or a function that computes it from the fields above. */
  // biome-ignore lint/suspicious/noExplicitAny: a derived default names the fields that it reads
  readonly default?: T | ((config: any) => T);
  /** An absent value is inherited from the enclosing block. */
  readonly inherit?: boolean;
  /** May be absent without a default. */
  readonly optional?: boolean;
}

/** One option of a block. `T` is its value, `P` whether it is required, `K` the kind of block if it is a slot. */
export interface Field<T = unknown, P extends Presence = Presence, K extends string = string> extends FieldOptions<unknown> {
  readonly type: 'int' | 'num' | 'bool' | 'text' | 'choice' | 'list' | 'fn' | 'slot' | 'each';
  /** In words, for errors: `an integer >= 1`. */
  readonly expected: string;
  /** For slots. */
  readonly kind?: K;
  /** For slots: see `slot`. */
  // biome-ignore lint/suspicious/noExplicitAny: names the fields that it reads
  readonly inside?: (config: any, layer: number) => Readonly<Record<string, unknown>>;
  /** For slots of several layers: see `each`. */
  // biome-ignore lint/suspicious/noExplicitAny: names the fields that it reads
  readonly pattern?: (config: any, layer: number) => number | undefined;
  /** For slots: makes what stands in it. `placeOf` returns the `BuildContext` of a layer, `entryOf` its entry in a list. */
  fill?(given: unknown, placeOf: (layer: number) => unknown, entryOf: (layer: number) => number | undefined): FilledSlot;
  /** For values that JSON can hold: which ones. */
  readonly schema?: ValueSchema;
  /** Exists for the type checker only. */
  readonly phantom?: { readonly value: T; readonly presence: P };
}

/** What stands in a slot. */
export interface FilledSlot {
  readonly value: unknown;
  /** Its plain config. */
  readonly config: () => unknown;
  /** Called when the block has been made. */
  readonly check?: () => void;
}

/** The JSON Schema of a value: what its check reads, and what editors are given. */
export type ValueSchema =
  | {
      readonly type: 'integer' | 'number';
      readonly minimum?: number;
      readonly exclusiveMinimum?: number;
      readonly maximum?: number;
    }
  | { readonly type: 'boolean' }
  | { readonly type: 'string'; readonly enum?: readonly string[] }
  | { readonly type: 'array'; readonly items: ValueSchema; readonly minItems?: number; readonly maxItems?: number };

/** The options of a block. */
export type Fields = { readonly [name: string]: Field };

/** Whether a value must be given, by the options of its field. */
export type PresenceOf<O> = O extends { readonly default: infer D }
  ? D extends undefined
    ? never
    : 'default'
  : O extends { readonly optional: true }
    ? 'optional'
    : O extends { readonly inherit: true }
      ? 'inherit'
      : 'required';

function field<T, O extends FieldOptions<T>>(
  type: Field['type'],
  options: O,
  expected: string,
  schema?: ValueSchema,
): Field<T, PresenceOf<O>, never> {
  return Object.freeze({ ...options, type, expected, ...(schema && { schema }) }) as unknown as Field<T, PresenceOf<O>, never>;
}

interface Range {
  readonly min?: number;
  /** Like `min`, but the bound itself is not a value. */
  readonly above?: number;
  readonly max?: number;
}
const bounds = ({ min, above, max }: Range): string => {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  const least = min !== undefined ? ` >= ${min}` : above !== undefined ? ` > ${above}` : '';
  return max === undefined ? least : `${least && `${least} and`} <= ${max}`;
};
const limits = ({ min, above, max }: Range) => ({
  ...(min !== undefined && { minimum: min }),
  ...(above !== undefined && { exclusiveMinimum: above }),
  ...(max !== undefined && { maximum: max }),
});

/** An integer. */
export function int<const O extends FieldOptions<number> & Range>(options: O): Field<number, PresenceOf<O>, never> {
  return field<number, O>('int', options, `an integer${bounds(options)}`, { type: 'integer', ...limits(options) });
}
/** A number that float32 can hold: a larger one would become infinite in a model, a smaller one 0. */
export function num<const O extends FieldOptions<number> & Range>(options: O): Field<number, PresenceOf<O>, never> {
  return field<number, O>('num', options, `a number${bounds(options)}`, { type: 'number', ...limits(options) });
}
/** True or false. */
export function bool<const O extends FieldOptions<boolean>>(options: O): Field<boolean, PresenceOf<O>, never> {
  return field<boolean, O>('bool', options, 'true or false', { type: 'boolean' });
}
/** Any text. */
export function text<const O extends FieldOptions<string>>(options: O): Field<string, PresenceOf<O>, never> {
  return field<string, O>('text', options, 'a string', { type: 'string' });
}
/** One of a list of strings. */
export function choice<const C extends readonly [string, ...string[]], const O extends FieldOptions<C[number]>>(
  of: C,
  options: O,
): Field<C[number], PresenceOf<O>, never> {
  return field<C[number], O>('choice', options, `one of ${of.map((c) => `"${c}"`).join(', ')}`, { type: 'string', enum: of });
}
/** A list of values; `length` fixes its length. */
export function list<T, const O extends FieldOptions<readonly T[]> & { readonly length?: number }>(
  of: Field<T, Presence, never>,
  options: O,
): Field<readonly T[], PresenceOf<O>, never> {
  const { length } = options;
  return field<readonly T[], O>('list', options, `a list of ${length ?? 'values'}, each ${of.expected}`, {
    type: 'array',
    items: of.schema!,
    ...(length !== undefined && { minItems: length, maxItems: length }),
  });
}
/**
 * A function of the user: `fn<(x: Value) => Value>()({ doc })`. Such a config builds, but has no JSON.
 *
 * @typeParam F the type of the function
 */
// biome-ignore lint/suspicious/noExplicitAny: any function type may be asked for
export function fn<F extends (...args: any[]) => unknown>(): <const O extends FieldOptions<F>>(
  options: O,
) => Field<F, PresenceOf<O>, never> {
  return <const O extends FieldOptions<F>>(options: O) => field<F, O>('fn', options, 'a function');
}

/** True when the value passes the field's check. */
export const accepts = ({ schema }: Field, value: unknown): boolean =>
  schema ? fits(schema, value) : typeof value === 'function';

function fits(schema: ValueSchema, value: unknown): boolean {
  switch (schema.type) {
    case 'boolean':
      return typeof value === 'boolean';
    case 'string':
      return typeof value === 'string' && (schema.enum?.includes(value) ?? true);
    case 'array':
      return (
        Array.isArray(value) &&
        isWithin(value.length, schema.minItems, schema.maxItems) &&
        // A hole is an element too, which `every` passes over.
        Array.from(value).every((item) => fits(schema.items, item))
      );
    default:
      return (
        (schema.type === 'integer' ? Number.isSafeInteger(value) : isFloat32(value)) &&
        isWithin(value as number, schema.minimum, schema.maximum) &&
        !((value as number) <= (schema.exclusiveMinimum ?? Number.NEGATIVE_INFINITY))
      );
  }
}
/** The least normal float32: processors may take what is smaller as 0. */
const leastFloat32 = 2 ** -126;

/** Whether float32 holds a number of this size. */
export const isFloat32 = (x: unknown): boolean =>
  typeof x === 'number' && Number.isFinite(Math.fround(x)) && (x === 0 || Math.abs(x) >= leastFloat32);
const isWithin = (n: number, least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY): boolean =>
  n >= least && n <= most;
