// A block by itself, over data made inside the graph.
import {
  type AnyModule,
  add,
  type CompileOptions,
  ConfigError,
  cast,
  contextOf,
  type GraphBuilder,
  initialize,
  iota,
  module,
  mul,
  type Ort,
  reshape,
  sin,
  slice,
  type Value,
} from '@onnxformers/core';
import { type Measured, type SlopeOptions, slope } from './slope';

/** Sizes of one call. */
export interface BlockSizes {
  readonly batch: number;
  readonly seq: number;
}

const chained = ['mixer', 'feedforward', 'activation', 'norm', 'position', 'layer', 'stack'];

/** A chain of calls of one block, each on the last result: rows [batch, seq, dim] of its own making. */
export function blockChain(block: AnyModule, { batch, seq }: BlockSizes, copies: number): AnyModule {
  const dim = widthOf(block);
  return module({ block }, ({ shift }: Readonly<Record<string, Value>>) => {
    const g = shift!.graph.root;
    let x = rows(g, shift!, [batch, seq, dim]);
    const ctx = contextOf(g, { x }, { layout: 'padded' });
    for (let i = 0; i < copies; i++) {
      const y = block(x, ctx) as Value;
      if (`${y.dims}` !== `${x.dims}`) throw refused(block, `a result [${y.dims.join(', ')}] for [${x.dims.join(', ')}]`);
      x = y;
    }
    return { y: cast(slice(x, { axes: [0, 1, 2], starts: [0, 0, 0], ends: [1, 1, 1] }), 'float32') };
  });
}

function rows(g: GraphBuilder, shift: Value, dims: readonly [number, number, number]): Value {
  const along = (axis: number, rate: number): Value => {
    const shape = dims.map((d, i) => (i === axis ? d : 1));
    return mul(reshape(cast(iota(g, dims[axis]!), 'float32'), shape), rate);
  };
  const places = add(add(along(0, 0.9), along(1, 0.731)), along(2, 1.317));
  return cast(sin(add(places, cast(shift, 'float32'))), g.dtype);
}

function widthOf(block: AnyModule): number {
  const { dim } = (block.about.config ?? {}) as { readonly dim?: unknown };
  if (block.kind === undefined || !chained.includes(block.kind)) throw refused(block, `a ${block.kind ?? 'module'}`);
  if (block.kind === 'activation') return 1024;
  if (typeof dim !== 'number') throw refused(block, 'no dim in its config');
  return dim;
}

const refused = (block: AnyModule, got: string): ConfigError =>
  new ConfigError({
    path: block.blockName ?? 'block',
    problem: 'it cannot stand in a chain, so its time cannot be told from that of a start',
    expected: `a ${chained.join(', ')} from [batch, seq, dim] to the same`,
    got,
  });

/**
 * Measures one call of a block on a target, its weights drawn from a seed.
 *
 * Throws   ConfigError for a block that does not give what it takes · RunError when the runtime cannot load or run the graphs
 */
export async function benchBlock(
  block: AnyModule,
  sizes: BlockSizes,
  o: Omit<CompileOptions, 'inputs' | 'weights'>,
  ort: Ort,
  options: SlopeOptions = {},
): Promise<Measured> {
  const weights = initialize(blockChain(block, sizes, 1), { seed: 1 });
  return slope((copies) => blockChain(block, sizes, copies), { ...o, weights }, ort, options);
}
