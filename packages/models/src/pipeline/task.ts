// What a pipeline's task is made of.

import type { AudioProcessor } from '../audio/audio-processor';
import type { Sharp } from '../images/decode';
import type { ImageProcessor } from '../images/image-processor';
import type { Place } from '../place';
import type { Compilable, Pretrained } from '../pretrained';
import type { Task } from '../task';
import type { Tokenizer } from '../tokenizer/tokenizer';

/** What makes the model's inputs: of texts, of images, of sounds. */
export interface Preprocessors {
  readonly tokenizer: Tokenizer;
  readonly imageProcessor: ImageProcessor;
  readonly audioProcessor: AudioProcessor;
}

/** Reads the whole file of an address; in Node.js also of a path. */
export type ReadAddress = (address: string | URL) => Promise<Uint8Array>;

/** What a task is made from. */
export interface Parts {
  readonly model: Pretrained;
  /** What it compiles: the model, or of a model of texts and images the encoder in `tower`. */
  readonly part: Compilable;
  readonly place: Place;
  readonly read: ReadAddress;
  /** Decodes files of images where the platform does not. */
  readonly sharp: Sharp | undefined;
}

/** A function with a session. */
export interface Opened<F> {
  readonly call: F;
  /** Frees its sessions. */
  dispose(): Promise<void>;
}

/** A task of {@link pipeline}: the head that it needs, what it reads, and its function. */
export interface TaskDefinition<F, R extends keyof Preprocessors = 'tokenizer'> {
  /** The head. */
  readonly head: Task;
  /** The preprocessors of what it reads. */
  readonly reads: readonly R[];
  /** Of a model of texts and images, the encoder that it needs alone. */
  readonly tower?: 'text' | 'vision';
  /** Opens sessions of the model. */
  open(parts: Parts & Pick<Preprocessors, R>): Promise<Opened<F>>;
}
