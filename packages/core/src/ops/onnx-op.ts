// Ops that the library lacks, defined by the user.

import { aFunction, anObject, given } from '../given';
import { type AttributeKind, type Attrs, defineOp, domainOf, type Op } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value } from '../ir/graph';

type AttributeOf<K extends AttributeKind> = K extends 'int' | 'float'
  ? number
  : K extends 'string'
    ? string
    : K extends 'ints' | 'floats'
      ? readonly number[]
      : K extends 'strings'
        ? readonly string[]
        : Attrs[string];
type AttributesOf<S extends Schema> = { readonly [N in keyof S]?: AttributeOf<S[N]> | undefined };
type Schema = { readonly [name: string]: AttributeKind };

/** The argument of {@link onnxOp}: an {@link Op} whose attributes are declared by their ONNX types; all of them are optional. */
export type OnnxOpDefinition<S extends Schema> = Omit<Op<AttributesOf<S>>, 'attributes'> & { readonly attributes?: S };

/**
 * Any ONNX op that this library has no function for: of the standard, of `com.microsoft`, or of your own library. It is used in
 * graphs like every other op. `evaluate`, `decompose` and `vjp` are optional: without `evaluate` the interpreter cannot run it, without
 * `decompose` a target that does not have it refuses it, without `vjp` (or `decompose`) it has no gradient.
 *
 * `kernels` says which targets have it. Without `kernels` every target accepts it, and the runtime reports an op that it lacks.
 *
 * Shapes   as `infer` says
 * Throws   ShapeError (when applied) from `infer`, with the path, the op and the operands' types; or when `key` does not name an op
 * Lowers   everywhere: the op itself
 * Example  const softsign = ops.onnxOp({ key: 'Softsign', infer: ([type]) => [type!], kernels: { cpu: ['float32'] } });
 *            const [y] = softsign([x]);
 */
export function onnxOp<const S extends Schema = Record<never, never>>(
  definition: OnnxOpDefinition<S>,
): (operands: readonly Operand[], attrs?: AttributesOf<S>) => readonly Value[] {
  given('onnxOp', { options: definition, 'options.infer': definition?.infer }, { options: anObject, 'options.infer': aFunction });
  const [domain, name] = domainOf(String(definition.key));
  if (!name || domain === 'onnxformers')
    throw mismatch('the key does not name an ONNX op', 'a name such as Softsign or com.microsoft.Inverse', definition.key);
  const op = defineOp({
    kernels: 'everywhere',
    ...(!definition.decompose && { vjp: 'nonDifferentiable' }),
    ...definition,
    attributes: definition.attributes ?? {},
  } as Op<AttributesOf<S>>);
  return (operands, attrs) => apply(op, operands, (attrs ?? {}) as AttributesOf<S>);
}
