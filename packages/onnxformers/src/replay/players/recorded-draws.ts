// Random choices of a record, as the uniform numbers that the choices of ours are made from.
import { type Tensor, tensor } from '@onnxformers/core';
import type { FixtureCase } from '../fixture-set';

/**
 * The draws of an orthoformer.
 *
 * @param path of the mechanism in the play
 */
export function recordedDraws(c: FixtureCase, path: string, seq: number, kvSeq: number): Readonly<Record<string, Tensor>> {
  const { landmark_selection: selection = 'orthogonal' } = orthoformerIn(c.config) ?? {};
  const [first, second, order] = ['rand.0.randint', 'rand.1.randint', 'rand.0.randperm'].map((name) => c.state.get(name));
  const draw = (name: string, t: Tensor | undefined, of: (t: Tensor) => Tensor) => (t ? { [`${path}.${name}`]: of(t) } : {});
  const index = (count: number) => (t: Tensor) =>
    uniform(
      t.dims,
      [...t.data].map((i) => (Number(i) + 0.5) / count),
    );
  if (order) return draw('order', order, earlierIsLarger);
  if (selection === 'random') return { ...draw('queries', first, index(seq)), ...draw('keys', second, index(kvSeq)) };
  const { multi_head, multi_head_config, num_heads } = c.config as Readonly<Record<string, unknown>>;
  const dispatcher = (multi_head ?? multi_head_config ?? { num_heads }) as { readonly num_heads?: number };
  const heads = dispatcher.num_heads ?? 1;
  const ofHeads = (count: number) => (t: Tensor) => ({ ...index(count)(t), dims: [t.dims[0]! / heads, heads] });
  if (!second) return draw('first', first, ofHeads(seq));
  return { ...draw('sample', first, index(seq)), ...draw('first', second, ofHeads(first!.dims[0]!)) };
}

const uniform = (dims: readonly number[], data: readonly number[]): Tensor => tensor('float32', dims, data);

// The first of a permutation are the largest of these numbers.
function earlierIsLarger({ dims, data }: Tensor): Tensor {
  const numbers = new Array<number>(data.length);
  [...data].forEach((place, i) => {
    numbers[Number(place)] = 1 - (i + 0.5) / data.length;
  });
  return uniform(dims, numbers);
}

interface Orthoformer {
  readonly landmark_selection?: string;
}

function orthoformerIn(config: unknown): Orthoformer | undefined {
  if (typeof config !== 'object' || config === null) return undefined;
  if ((config as { name?: unknown }).name === 'orthoformer') return config as Orthoformer;
  return Object.values(config)
    .map(orthoformerIn)
    .find((found) => found !== undefined);
}
