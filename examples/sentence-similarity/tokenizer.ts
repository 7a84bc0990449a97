/**
 * The unigram tokenizer of the Universal Sentence Encoder (lite): a text is cut into the pieces whose log probabilities have
 * the greatest sum (Kudo 2018, https://arxiv.org/abs/1804.10959). Ids equal those of `@energetic-ai/embeddings@0.2.0`, its
 * habits included:
 *
 * - the text is NFKC-normalised, each space becomes ▁ and one ▁ is put in front; other white space is left alone;
 * - a character that begins no piece is the unknown piece, id 0, at a cost of 0, less than any piece costs;
 *   neighbouring unknowns are one token;
 * - a best sum of exactly 0 counts as "nothing found yet" and is replaced by whatever comes next, even if that is worse;
 * - of equal sums the one whose last piece begins later wins;
 * - where a piece stands in the vocabulary several times, its last id and score count.
 */
import type { Tensor } from '@onnxformers/core';
import { sizes } from './sizes';

/** Pieces and their log probabilities; the id of a piece is its place. */
export type Vocabulary = readonly (readonly [piece: string, score: number])[];

/** Text to token ids and back to pieces. */
export interface Tokenizer {
  /** The ids of a text, none for the empty text. Not cut to a greatest length. */
  encode(text: string): number[];
  /** The pieces that ids stand for, ▁ for a space. */
  pieces(ids: readonly number[]): string[];
}

/** The id of what is not in the vocabulary. Also fills the rows of a batch; their lengths say what is real. */
export const unknown = 0;
/** Ids before this one are for the unknown piece and for markers that the encoder was trained without. */
const firstPiece = 6;
const space = '▁';

interface TrieNode {
  readonly next: Map<string, TrieNode>;
  id?: number;
  score?: number;
}

function trieOf(vocabulary: Vocabulary): TrieNode {
  const root: TrieNode = { next: new Map() };
  for (const [id, [piece, score]] of vocabulary.entries()) {
    if (id < firstPiece) continue;
    let node = root;
    for (const symbol of piece) {
      let child = node.next.get(symbol);
      if (!child) {
        child = { next: new Map() };
        node.next.set(symbol, child);
      }
      node = child;
    }
    node.id = id;
    node.score = score;
  }
  return root;
}

function symbolsOf(text: string): string[] {
  const normal = text.normalize('NFKC');
  return normal === '' ? [] : [...(space + normal.replaceAll(' ', space))];
}

/** The tokenizer of a vocabulary. */
export function createTokenizer(vocabulary: Vocabulary): Tokenizer {
  const trie = trieOf(vocabulary);

  function encode(text: string): number[] {
    const symbols = symbolsOf(text);
    const end = symbols.length;
    // For each place in the text: the best sum of scores up to it, and the last piece on the way there.
    const best = new Float64Array(end + 1);
    const ids = new Int32Array(end + 1);
    const starts = Int32Array.from({ length: end + 1 }, (_, i) => i - 1);
    for (let start = 0; start < end; start++) {
      const reach = (stop: number, id: number, score: number) => {
        const sum = best[start]! + score;
        if (best[stop] !== 0 && sum < best[stop]!) return;
        best[stop] = sum;
        ids[stop] = id;
        starts[stop] = start;
      };
      let found = false;
      let node = trie.next.get(symbols[start]!);
      for (let stop = start + 1; node; stop++) {
        if (node.id !== undefined) {
          reach(stop, node.id, node.score!);
          found = true;
        }
        node = stop < end ? node.next.get(symbols[stop]!) : undefined;
      }
      if (!found) reach(start + 1, unknown, 0);
    }
    const tokens: number[] = [];
    for (let stop = end; stop > 0; stop = starts[stop]!) {
      if (ids[stop] !== unknown || tokens.at(-1) !== unknown) tokens.push(ids[stop]!);
    }
    return tokens.reverse();
  }

  return { encode, pieces: (ids) => ids.map((id) => vocabulary[id]?.[0] ?? '') };
}

/** The feeds of the encoder. */
export interface Batch {
  /** int64 [batch, seq]; seq is the length of the longest sentence, at least 1. */
  readonly ids: Tensor;
  /** int64 [batch]; how many tokens of each row are real, at most 128. */
  readonly lengths: Tensor;
}

/** Encoded sentences as one rectangle, cut to the 128 tokens that the encoder can see. */
export function toBatch(encoded: readonly (readonly number[])[]): Batch {
  const lengths = encoded.map((ids) => Math.min(ids.length, sizes.maxTokens));
  const width = Math.max(1, ...lengths);
  const ids = new BigInt64Array(encoded.length * width).fill(BigInt(unknown));
  for (const [row, tokens] of encoded.entries()) ids.set(tokens.slice(0, width).map(BigInt), row * width);
  return {
    ids: { dtype: 'int64', dims: [encoded.length, width], data: ids },
    lengths: { dtype: 'int64', dims: [encoded.length], data: BigInt64Array.from(lengths, BigInt) },
  };
}
