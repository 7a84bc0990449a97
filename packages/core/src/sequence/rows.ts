// Rows together with what is known of them. An embedding makes rows of what it reads, and the context of a model is that of those rows.
import type { Dim } from '../dim/dim';
import { ConfigError, ShapeError } from '../error';
import { printType } from '../ir/define-op';
import { Value } from '../ir/graph';
import { and } from '../mask/and';
import { featuresOf } from '../mask/features';
import { keyPadding } from '../mask/key-padding';
import { keyLengths } from '../mask/lengths';
import { conjuncts, type Mask, printMask } from '../mask/mask';
import { expand, reshape } from '../ops/movement';
import { iota } from '../ops/shape';
import { type Memory, type SequenceContext, withContext, without } from './context';

/** Rows [batch, seq, dim] (packed [tokens, dim]) and their context. */
export interface Rows {
  readonly rows: Value;
  readonly ctx: SequenceContext;
}

/** How an embedding that makes other rows than it read tells what becomes of the padding of its input. */
export interface RowsOptions {
  /** Real rows [batch] for as many real places of the input: `floor((n + 1) / 2)` for a convolution of stride 2. */
  readonly lengths?: (lengths: Value) => Value;
  /** Which rows are real, bool [batch, seq], for which places of the input are. */
  readonly keyPadding?: (keep: Value) => Value;
  /** [height, width] where the rows are the patches of an image, row by row. */
  readonly grid?: readonly [height: Dim, width: Dim];
}

/**
 * What an embedding returns that does not make one row of each place that it read: patches of an image, a convolution that shortens. Positions
 * count the new rows from 0. Lengths and padding of the input are translated by the options, or refused. Masks between pairs and biases of
 * scores count the rows that attend, so they are handed on.
 *
 * Shapes   rows [batch, seq, dim]
 * Throws   ConfigError for lengths, padding or position ids of the input that are not translated, for packed rows and for a state
 * Example  const { rows } = withRows(ctx, x, { grid: [7, 5] });
 */
export function withRows(ctx: SequenceContext, rows: Value, o: RowsOptions = {}): Rows {
  const { where } = rows.graph;
  const fault = (problem: string, expected: string, got: string): ConfigError =>
    new ConfigError({ path: where || 'embedding', problem, expected, got });
  if (rows.rank !== 3) throw fault('the embedding did not return sequences', '[batch, seq, dim]', printType(rows));
  if (ctx.layout.kind === 'packed' || ctx.state)
    throw fault(
      'an embedding that changes the number of positions requires whole sequences',
      'a padded batch without a state',
      ctx.state ? 'a state' : 'a packed batch',
    );
  if (ctx.positionIds)
    throw fault('position ids of the input do not apply to the new positions', 'counted positions', printType(ctx.positionIds));
  const translated = (mask: Mask<Value>): Mask<Value> => {
    const features = featuresOf(mask);
    if (features?.lengths && o.lengths) return keyLengths(o.lengths(features.lengths));
    if (features?.keyPadding && o.keyPadding) return keyPadding(o.keyPadding(features.keyPadding));
    if (!features || isPadding(mask))
      throw fault(
        'padding of the input does not apply to the new positions',
        'an embedding that translates it, or no padding',
        printMask(mask),
      );
    return mask;
  };
  const [batch, seq] = rows.dims as [Dim, Dim];
  const lengths = ctx.lengths && o.lengths?.(ctx.lengths);
  const counted = without(ctx, 'lengths', 'grid');
  return {
    rows,
    ctx: withContext(counted, {
      mask: and(...conjuncts(ctx.mask).map(translated)),
      get positions() {
        return this.shared!.get(`positions of ${rows.id}`, () => expand(reshape(iota(rows, seq), [1, seq]), [batch, seq]));
      },
      ...(lengths && { lengths }),
      ...(o.grid && { grid: o.grid }),
    }),
  };
}

/**
 * What an embedding or a position block gave, with its context: that of the rows it read where it returned rows alone, which then are as many.
 *
 * Throws   ShapeError for rows alone that are not as many as were read
 */
export function rowsOf(given: Value | Rows, read: Value, ctx: SequenceContext): Rows {
  if (!(given instanceof Value)) return given;
  const axes = ctx.layout.kind === 'packed' ? 1 : 2;
  for (let axis = 0; axis < axes; axis++)
    if (given.dims[axis] !== read.dims[axis])
      throw new ShapeError({
        path: given.graph.where || 'embedding',
        problem: 'the number of positions changed without a context for the new ones',
        expected: `[${[...read.dims.slice(0, axes), 'dim'].join(', ')}]`,
        got: printType(given),
        hint: 'Return withRows(ctx, rows), which defines the new positions and padding',
      });
  return { rows: given, ctx };
}

const contexts = new WeakMap<Value, SequenceContext>();

/** Keeps the context of rows that a model hands out, for who attends to them as a memory. */
export function keepContext({ rows, ctx }: Rows): Value {
  contexts.set(rows, ctx);
  return rows;
}

/** The context of rows that a model handed out, if its backbone kept it. */
export const contextOfRows = (rows: Value): SequenceContext | undefined => contexts.get(rows);

/** Rows as what others attend to: their padding goes along, masks between pairs do not. */
export function memoryFrom({ rows, ctx: { mask, layout } }: Rows): Memory {
  const padding = conjuncts(mask).filter(isPadding);
  return { rows, mask: and(...padding), layout };
}

// A mask that says of each key whether it is there, and nothing else.
const isPadding = (mask: Mask<Value>): boolean => {
  const features = Object.keys(featuresOf(mask) ?? {});
  return features.length === 1 && (features[0] === 'lengths' || features[0] === 'keyPadding');
};
