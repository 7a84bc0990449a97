// The options of compile().

import type { Dim } from '../dim/dim';
import type { Assumption } from '../ir/assumption';
import type { DeclaredRole } from '../ir/graph';
import type { Rule } from '../lower/rule';
import type { Machine, Target } from '../lower/target';
import type { Parameter } from '../parameter/parameter';
import type { OnProgress } from '../progress';
import type { SequenceInputs } from '../sequence/context-of';
import type { InputsByName } from '../sequence/named-ports';
import type { DType } from '../tensor/tensor';
import type { WeightSource } from '../weights/load';
import type { Quantize } from './quantize';

/** dtypes of a model's weights and arithmetic. */
export type ModelDType = 'float32' | 'float16' | 'bfloat16';

/** An input of a model: its dtype, its dims, and its role if its name does not imply one. */
export type InputType = readonly [dtype: DType, dims: readonly Dim[], role?: DeclaredRole | undefined];

/** The options of `compile`. */
export interface CompileOptions {
  readonly target: Target;
  /** Properties of the machine. Missing ones are assumed to be the newest. */
  readonly machine?: Machine;
  /**
   * Default float32. On a target that does not compute in it, or is slower in it than in float32, weights are stored in it and converted to float32;
   * outputs and caches are float32 then. See `strictDtype`.
   */
  readonly dtype?: ModelDType;
  /** True: arithmetic in `dtype`, also where it is slower than float32; an error where the target does not compute in it. */
  readonly strictDtype?: boolean;
  /**
   * Inputs by name: `{ ids: ['int64', ['batch', 'seq']] }`. A size name is bound when the model runs. A third entry states the role of an input,
   * if its name does not imply one (see `contextOf` for the names that do): `{ pairs: ['bool', [1, 1, 'seq', 'seq'], 'denseMask'] }`.
   */
  readonly inputs: InputsByName<string, InputType>;
  /** Weights by parameter name. Absent: the model can be explained and summarised, not saved. */
  readonly weights?: WeightSource;
  /**
   * Stores matrices as codes of 4 or 8 bits with scales (weight-only quantization): `'int4'`, `'int8'`, or formats by role,
   * `{ bits: 4, blockSize: 32, roles: { head: 'int8', embedding: 'float16' } }`. See `quantizeWeights`; `quantizationErrors` measures what it costs.
   */
  readonly quantize?: Quantize;
  /** Which parameters are inputs instead of stored weights: for training, LoRA, hot swap. */
  readonly parameters?: (path: string, parameter: Parameter) => 'stored' | 'input';
  readonly layout?: 'padded' | 'packed';
  /** Where state between calls (such as the KV cache) is kept. Absent: the model has no state. */
  readonly state?: SequenceInputs['state'];
  /** Random numbers from a counter-based hash with this seed; absent: draws are inputs. */
  readonly draws?: { readonly seed: number };
  /** True keeps dropout. */
  readonly training?: boolean;
  /**
   * Paths whose values become outputs of that name: `stack.layers.0` is the result of a module, `stack.layers.0.mixer.attention.weights` the weights
   * of a softmax attention, [batch, heads, queries, keys], after softmax and before dropout. Weights cost memory of queries · keys, and exclude
   * kernels that do not return them; `explain` names those.
   */
  readonly taps?: readonly string[];
  /** Rules that are tried at every node, besides those of its block. */
  readonly rules?: readonly Rule[];
  /**
   * Properties of all feeds; the runner refuses others. `'prefill into empty cache'`: a call has several new positions only while the cache is empty, or for a
   * batch of one. `'no empty sequences'`: each sequence has a position that may be attended to. `'finite padding'`: padded positions of inputs in floats contain
   * finite numbers; otherwise the graph sets them to 0, except in caches. The runner checks sequences, keys, values, memories and caches.
   */
  readonly assumptions?: readonly Assumption[];
  /** Called before tracing, between tracing and lowering, and at the end. */
  readonly onProgress?: OnProgress;
}
