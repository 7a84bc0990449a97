// Names of inputs that the context of a model is made of.

/** Inputs that say something of the rows of others. */
export const aboutRows: ReadonlySet<string> = new Set([
  'lengths',
  'attention_mask',
  'position_ids',
  'mask',
  'bias',
  'memory',
  'memory_lengths',
  'memory_mask',
  'past_lengths',
]);
