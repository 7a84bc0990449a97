// Defining ops: everything about one operation, in one object.
import type { Dim } from '../dim/dim';
import type { OperandNames } from './operands';
import type { Attrs, Op, Sizes } from './types';

/** Defines an op; infers the attribute types from `attributes` and the functions. */
/* @__NO_SIDE_EFFECTS__ */
export function defineOp<A extends Attrs, N extends OperandNames = OperandNames>(op: Op<A, N>): Op<A, N> {
  return Object.freeze(op);
}

/** `com.microsoft.Gelu` → `['com.microsoft', 'Gelu']`; the standard's own domain is ''. */
export function domainOf(key: string): readonly [domain: string, name: string] {
  const dot = key.lastIndexOf('.');
  return dot < 0 ? ['', key] : [key.slice(0, dot), key.slice(dot + 1)];
}

/** The number of elements of a value. */
export const countIn = ({ dims }: { readonly dims: readonly Dim[] }, sizes: Sizes): number =>
  dims.reduce<number>((n, d) => n * sizes.of(d), 1);

/** The `flops` of an op that moves elements and computes nothing. */
export const noFlops = (): number => 0;

/** The value itself. Emitted only where a subgraph returns a value of an enclosing graph. */
export const Identity: Op = defineOp({
  key: 'Identity',
  since: 1,
  attributes: {},
  infer: ([x]) => [x!],
  simplify: ([x]) => x,
  vjp: (_, grads) => grads,
  evaluate: ([x]) => [x!],
  flops: noFlops,
  view: true,
});
