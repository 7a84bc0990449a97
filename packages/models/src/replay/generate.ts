// Greedy generation through growing caches, token by token.
import { createRunner, type Model, type Ort, pastOf, type Tensor, tensor } from '@onnxformers/core';

/** A generation: ids with the prompt, and the logits of each step. */
export interface Generation {
  readonly sequences: readonly (readonly number[])[];
  /** [step][batch][vocab]. */
  readonly logits: readonly (readonly Float32Array[])[];
}

const rowsOf = ({ data, dims: [batch, seq] }: Tensor): number[][] =>
  Array.from({ length: batch! }, (_, b) => Array.from({ length: seq! }, (_, i) => Number(data[b * seq! + i])));

const asTensor = (rows: readonly (readonly number[])[]): Tensor => tensor('int64', [rows.length, rows[0]!.length], rows.flat());

/** The logits of the last position of each sequence. */
function lastLogits({ data, dims: [batch, seq, vocab] }: Tensor): Float32Array[] {
  return Array.from({ length: batch! }, (_, b) => {
    const from = (b * seq! + seq! - 1) * vocab!;
    return Float32Array.from((data as Float32Array).subarray(from, from + vocab!));
  });
}

const likeliest = (logits: Float32Array): number => logits.reduce((best, x, i) => (x > logits[best]! ? i : best), 0);

/**
 * Generates `steps` tokens: a first call with the prompts, then one call a token. `others` are fed unchanged in the first call, and as `later` says in the next ones.
 */
export async function generateGreedily(
  model: Model,
  ort: Ort,
  o: {
    readonly ids: Tensor;
    readonly mask: Tensor | undefined;
    readonly steps: number;
    readonly others?: Readonly<Record<string, Tensor>>;
    readonly later?: Readonly<Record<string, Tensor>>;
  },
): Promise<Generation> {
  const run = await createRunner(model, ort);
  const masked = run.signature.inputs.some(({ name }) => name === 'attention_mask');
  try {
    const sequences = rowsOf(o.ids);
    const masks = o.mask ? rowsOf(o.mask) : sequences.map((row) => row.map(() => 1));
    const logits: Float32Array[][] = [];
    let fresh = o.ids;
    let caches: Record<string, Tensor> = { ...o.others };
    for (let step = 0; step < o.steps; step++) {
      const outputs = await run({ ids: fresh, ...(masked && { attention_mask: asTensor(masks) }), ...caches });
      caches = { ...pastOf(outputs), ...o.later };
      const last = lastLogits(outputs.logits!);
      logits.push(last);
      const next = last.map(likeliest);
      for (const [b, id] of next.entries()) {
        sequences[b]!.push(id);
        masks[b]!.push(1);
      }
      fresh = asTensor(next.map((id) => [id]));
    }
    return { sequences, logits };
  } finally {
    await run.dispose();
  }
}
