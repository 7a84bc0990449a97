// What a pipeline's task is made of.

import type { Place } from '../place';
import type { Pretrained } from '../pretrained';
import type { Task } from '../task';
import type { Tokenizer } from '../tokenizer/tokenizer';

/** Reads the whole file of an address; in Node.js also of a path. */
export type ReadAddress = (address: string | URL) => Promise<Uint8Array>;

/** What a task is made from. */
export interface Parts {
  readonly model: Pretrained;
  readonly tokenizer: Tokenizer;
  readonly place: Place;
  readonly read: ReadAddress;
}

/** A function on texts with a session. */
export interface Opened<F> {
  readonly call: F;
  /** Frees its sessions. */
  dispose(): Promise<void>;
}

/** A task of {@link pipeline}: the head that it needs, and its function. */
export interface TaskDefinition<F> {
  /** The head. */
  readonly head: Task;
  /** Opens sessions of the model. */
  open(parts: Parts): Promise<Opened<F>>;
}
