// Blocks: definitions from which modules are made.

import type { Fields } from '../config/fields';
import { build } from '../config/resolve';
import type { Kind } from '../module/kinds';
import type { AnyBlock, Block, BlockDefinition, BlockOptions } from './block-definition';

/** Defines a block; see `Contracts` for what each kind takes and returns. */
export function defineBlock<
  const K extends Kind,
  const N extends string,
  const F extends Fields,
  const O extends string = string,
>(definition: BlockDefinition<K, N, F, O>): Block<K, N, F, O> {
  const block = ((config: BlockOptions<F>) =>
    build(block as unknown as AnyBlock, config, { path: definition.name })) as unknown as Block<K, N, F, O>;
  Object.defineProperties(block, {
    kind: { value: definition.kind, enumerable: true },
    blockName: { value: definition.name, enumerable: true },
    fields: { value: definition.fields, enumerable: true },
    definition: { value: Object.freeze(definition), enumerable: true },
    name: { value: definition.name },
  });
  return block;
}

/** True for anything made by {@link defineBlock}. */
export const isBlock = (x: unknown): x is AnyBlock => typeof x === 'function' && 'definition' in x && 'blockName' in x;
