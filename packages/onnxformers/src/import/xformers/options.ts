// What the functions of this folder take.
import type { ForeignConfig } from '../options';

/** A config of the original xFormers, as plain JSON. */
export type XFormersConfig = ForeignConfig;

/** How a config is translated. */
export interface XFormersOptions {
  /** What the original does where it is not what the paper or its own documentation says. */
  readonly compat?: 'xformers';
  /** The model takes the inputs `input_mask` and `decoder_input_mask`, which scale the rows of keys and values. */
  readonly inputMasks?: boolean;
  /** The original ran with Triton, whose norms have another epsilon. Default: whether the config names a block that needs it. */
  readonly triton?: boolean;
}
