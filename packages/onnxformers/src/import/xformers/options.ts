// Options of the functions in this folder.
import type { ForeignConfig } from '../options';

/** A config of the original xFormers, as plain JSON. */
export type XFormersConfig = ForeignConfig;

/** How a config is translated. */
export interface XFormersOptions {
  /** Reproduces the original where it deviates from the paper or its own documentation. */
  readonly compat?: 'xformers';
  /** The model takes the inputs `input_mask` and `decoder_input_mask`, which scale the positions of keys and values. */
  readonly inputMasks?: boolean;
  /** The original ran with Triton, whose norms have another epsilon. Default: whether the config names a block that needs it. */
  readonly triton?: boolean;
}
