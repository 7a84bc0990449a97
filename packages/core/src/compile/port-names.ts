// The names of a model's inputs and outputs, as far as they are known statically.
import type { AnyModule } from '../module/module';
import type { CompileOptions } from './compile-options';

// An option that may be there, as in a conditional spread, counts as given.
type HasAny<C, K extends keyof CompileOptions> = K extends keyof C ? ([C[K]] extends [undefined] ? false : true) : false;

/** The inputs that were declared; any name where caches, parameters or draws are inputs too. */
export type InputNames<C extends CompileOptions> = true extends
  | HasAny<C, 'state'>
  | HasAny<C, 'parameters'>
  | HasAny<C, 'training'>
  ? string
  : keyof C['inputs'] & string;

type Declared<M> = M extends { readonly outputNames?: infer O } ? Extract<O, string> : string;
type Returned<M> = M extends { readonly forward: (...args: never[]) => infer R }
  ? unknown extends R
    ? string
    : keyof R & string
  : string;
type OfModule<M> = M extends { readonly kind: infer K extends string }
  ? K extends 'model'
    ? Declared<M>
    : K extends 'rotaryEmbedding'
      ? 'q_rotated' | 'k_rotated'
      : 'y'
  : Returned<M>;

/** The outputs that a block declares or a forward function returns; any name where taps and caches are outputs too. */
export type OutputNames<M extends AnyModule, C extends CompileOptions> = true extends HasAny<C, 'state'> | HasAny<C, 'taps'>
  ? string
  : [OfModule<M>] extends [never]
    ? string
    : OfModule<M>;
