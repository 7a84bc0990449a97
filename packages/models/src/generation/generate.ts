// Generation token by token, through growing caches.
import { pastOf, type Runner, type Tensor, tensor } from '@onnxformers/core';
import { rowOf } from '../rows';
import type { Choose } from './choose';

/** Rows of ids, or of a mask. */
export type Rows = readonly (readonly number[])[];

/** What a generation begins with. */
export interface Start {
  /** Prompts of one length, padded on the left. */
  readonly ids: Rows;
  /** 1 for a token, 0 for padding; default: no padding. */
  readonly mask?: Rows;
  /** Fed in the first call. */
  readonly first?: Readonly<Record<string, Tensor>>;
  /** Fed in later calls, with the caches. */
  readonly later?: Readonly<Record<string, Tensor>>;
}

/** How tokens are generated. */
export interface Steps {
  /** New tokens at most. */
  readonly steps: number;
  readonly choose: Choose;
  /** Tokens that end a sequence. */
  readonly ends?: readonly number[];
  /** Fills sequences that have ended. */
  readonly pad?: number;
  /** Called with the logits of each step, one row for each sequence, and the tokens that were chosen. */
  readonly onStep?: (logits: readonly Float32Array[], chosen: readonly number[]) => void;
}

/** Rows of one length as int64 [batch, seq]. */
export const rowsTensor = (rows: Rows): Tensor => tensor('int64', [rows.length, rows[0]!.length], rows.flat());

/** New tokens of each sequence: a first call with the prompts, then one call a token. Stops when all sequences have ended. */
export async function generateTokens(run: Runner, start: Start, o: Steps): Promise<readonly (readonly number[])[]> {
  const { steps, choose, ends = [], pad = 0, onStep } = o;
  const made = start.ids.map((): number[] => []);
  const masks = (start.mask ?? start.ids.map((row) => row.map(() => 1))).map((row) => [...row]);
  const open = start.ids.map(() => true);
  const masked = run.signature.inputs.some(({ name }) => name === 'attention_mask');
  let fresh = rowsTensor(start.ids);
  let others: Readonly<Record<string, Tensor>> = start.first ?? {};
  for (let step = 0; step < steps && open.includes(true); step++) {
    const outputs = (await run({ ids: fresh, ...(masked && { attention_mask: rowsTensor(masks) }), ...others })) as Readonly<
      Record<string, Tensor>
    >;
    others = { ...pastOf(outputs), ...start.later };
    const [, seq] = outputs.logits!.dims;
    const logits = start.ids.map((_, b) => rowOf(outputs.logits!, b, seq! - 1));
    const next = logits.map((row, b) =>
      open[b]
        ? choose(row, { ids: [...start.ids[b]!.filter((_, i) => start.mask?.[b]?.[i] !== 0), ...made[b]!], step, steps })
        : pad,
    );
    onStep?.(logits, next);
    for (const [b, id] of next.entries()) {
      masks[b]!.push(1);
      if (!open[b]) continue;
      made[b]!.push(id);
      open[b] = !ends.includes(id);
    }
    fresh = rowsTensor(next.map((id) => [id]));
  }
  return made;
}
