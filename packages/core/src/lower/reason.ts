// Why something does not apply: a code with data, from which the text is made in one place.

/** The data of a reason, besides its code. */
export type ReasonData = { readonly [name: string]: number | string | boolean | readonly string[] | undefined };

/** Why something does not apply. Programs read `code` and `data`; `text` is made from them, for people. */
export interface Reason<D extends ReasonData = ReasonData> {
  /** `sizeLimit`. */
  readonly code: string;
  readonly data: D;
  readonly text: string;
}

/** Makes the reasons of one code, and recognises them. */
export interface ReasonOf<A extends readonly [ReasonData?]> {
  (...data: A): Reason;
  readonly code: string;
  is(reason: Reason): reason is Reason<A extends readonly [infer D extends ReasonData] ? D : ReasonData>;
}
type Texts = { readonly [code: string]: (data: never) => string };

/**
 * A table of reasons: for each code, the text made from its data. Core's is {@link reasons}; a kernel's file has its own for
 * reasons that only that kernel returns.
 *
 *     const own = defineReasons({ perm: ({ perm }: { perm: string }) => `it swaps the last two axes only, not [${perm}]` });
 *     return refuse(own.perm({ perm: '1, 0, 2' }));
 */
/* @__NO_SIDE_EFFECTS__ */
export function defineReasons<T extends Texts>(texts: T): { readonly [C in keyof T]: ReasonOf<Parameters<T[C]>> } {
  const make = ([code, text]: [string, (data: ReasonData) => string]) => {
    const of = (data: ReasonData = {}): Reason => ({ code, data, text: text(data) });
    return [code, Object.assign(of, { code, is: (reason: Reason) => reason.code === code })];
  };
  const entries = Object.entries(texts) as unknown as [string, (data: ReasonData) => string][];
  return Object.fromEntries(entries.map(make)) as never;
}
