// Texts in passages that a model can read whole.

/** A part of a text. */
export interface Passage {
  readonly text: string;
  /** The line that it begins in, counted from 1. */
  readonly line: number;
}

/** A text whose place in the file is known. */
interface Piece {
  readonly text: string;
  readonly start: number;
}

/** Finer and finer ways to divide a text: paragraphs, sentences, words, characters. */
const divisions: readonly ((text: string) => Iterable<string>)[] = [
  (text) => text.split(/(?<=\n[^\S\n]*\n)/),
  (text) => segments(text, 'sentence'),
  (text) => segments(text, 'word'),
  (text) => segments(text, 'grapheme'),
];

const segments = (text: string, granularity: 'sentence' | 'word' | 'grapheme'): string[] =>
  [...new Intl.Segmenter('en', { granularity }).segment(text)].map(({ segment }) => segment);

/** A heading of Markdown. */
const isHeading = (text: string): boolean => /^\s*#{1,6} [^\n]*\s*$/.test(text);

/** Pieces that fit, each as long as possible without crossing a coarser division than it has to. */
function pieces({ text, start }: Piece, fits: (text: string) => boolean, level: number): readonly Piece[] {
  const divide = divisions[level];
  if (!divide) throw new Error(`a single character has more tokens than the model can read: ${JSON.stringify(text)}`);
  const found: Piece[] = [];
  let [open, at] = ['', start];
  const close = (): void => {
    if (open.trim()) found.push({ text: open, start: at });
    at += open.length;
    open = '';
  };
  for (const part of divide(text)) {
    // Paragraphs stay apart, so that each passage is about one thing; a heading stays with what follows.
    if (!fits(open + part) || (level === 0 && !isHeading(open))) close();
    if (fits(part)) open += part;
    else {
      found.push(...pieces({ text: part, start: at }, fits, level + 1));
      at += part.length;
    }
  }
  close();
  return found;
}

/** The passages of a text: its paragraphs, divided into sentences, and those into words, where they are too long. */
export function passagesOf(text: string, fits: (text: string) => boolean): readonly Passage[] {
  let [line, counted] = [1, 0];
  return pieces({ text, start: 0 }, fits, 0).map((piece) => {
    const start = piece.start + /^\s*/.exec(piece.text)![0].length;
    line += text.slice(counted, start).split('\n').length - 1;
    counted = start;
    return { text: piece.text.trim().replace(/\s+/g, ' '), line };
  });
}
