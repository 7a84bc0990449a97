// What the demo finds out, as data. The table and the page show the same report.

/** An op of the compiled graph and the blocks that it serves, one path per node. */
export interface KernelUse {
  /** The op with its domain, if that is not ONNX's own: `com.microsoft.MultiHeadAttention`. */
  readonly op: string;
  readonly paths: readonly string[];
}

/** The ops of a graph's nodes, in the order in which they first appear. */
export function kernelsOf({ nodes }: { readonly nodes: readonly { readonly op: string; readonly path: string }[] }): KernelUse[] {
  const paths = new Map<string, string[]>();
  for (const { op, path } of nodes) paths.set(op, [...(paths.get(op) ?? []), path]);
  return [...paths].map(([op, of]) => ({ op, paths: of }));
}

/** Paths without repetitions; those that differ only in a layer's number as one, with `*` for the number. */
export function placesOf(paths: readonly string[]): string[] {
  const alike = new Map<string, Set<string>>();
  for (const path of paths) {
    const pattern = path.replace(/(?<=\.)\d+(?=\.|$)/g, '*');
    alike.set(pattern, (alike.get(pattern) ?? new Set()).add(path));
  }
  return [...alike].map(([pattern, same]) => (same.size > 1 ? pattern : [...same][0]!)).filter(Boolean);
}

/** How long something took. */
export interface Timing {
  readonly what: string;
  readonly milliseconds: number;
}

/** The result of one run of the demo. */
export interface Report {
  readonly sentences: readonly string[];
  /** Cosine similarity of each sentence (row) with each (column). */
  readonly similarities: readonly (readonly number[])[];
  readonly target: string;
  /** The type of the weights. */
  readonly dtype: string;
  /** The type of the arithmetic. */
  readonly computes: string;
  /** Runtime and provider that did the work. */
  readonly runtime: string;
  readonly kernels: readonly KernelUse[];
  /** Milliseconds for one sentence, in a batch of all of them. */
  readonly perSentence: number;
  readonly timings: readonly Timing[];
}

/** Two sentences, by their places, and how similar they are. */
export interface Pair {
  readonly first: number;
  readonly second: number;
  readonly similarity: number;
}

/** Cosine similarities of all vectors with all vectors. */
export function similaritiesOf(vectors: readonly ArrayLike<number>[]): number[][] {
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
    return sum;
  };
  const norms = vectors.map((v) => Math.sqrt(dot(v, v)));
  return vectors.map((a, i) => vectors.map((b, j) => dot(a, b) / (norms[i]! * norms[j]!)));
}

/** The pairs of different places, most similar first. */
export function closestPairs(similarities: readonly (readonly number[])[], count: number): Pair[] {
  const pairs = similarities.flatMap((row, first) =>
    row.slice(first + 1).map((similarity, i): Pair => ({ first, second: first + 1 + i, similarity })),
  );
  return pairs.sort((a, b) => b.similarity - a.similarity).slice(0, count);
}

/** A duration with three significant digits. */
export function formatTime(milliseconds: number): string {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toPrecision(3)} s`;
  return `${milliseconds >= 100 ? Math.round(milliseconds) : milliseconds.toPrecision(milliseconds < 0.1 ? 1 : 3)} ms`;
}

/** The types of weights and arithmetic: on the CPU, for example, float16 weights are computed in float32. */
export const formatTypes = ({ dtype, computes }: Pick<Report, 'dtype' | 'computes'>): string =>
  dtype === computes ? `weights and arithmetic ${dtype}` : `weights ${dtype}, arithmetic ${computes}`;

/** A similarity with two decimals, never "-0.00". */
export const formatSimilarity = (similarity: number): string => similarity.toFixed(2).replace(/^-(?=0\.00$)/, '');

/** An op without its domain. */
export const shortOp = (op: string): string => op.slice(op.lastIndexOf('.') + 1);
