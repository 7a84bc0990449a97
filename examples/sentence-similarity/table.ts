// The report as text for a terminal.
import { styleText } from 'node:util';
import { closestPairs, formatSimilarity, formatTime, formatTypes, placesOf, type Report, shortOp } from './report';

/** Where the text goes. */
export interface Terminal {
  /** Characters in a line. */
  readonly columns: number;
  readonly colour: boolean;
}

/** A terminal as a stream and the environment describe it: no colour under NO_COLOR, TERM=dumb, or where no one is watching. */
export function terminalOf(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Terminal {
  return { columns: Math.max(stream.columns || 80, 40), colour: stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb' };
}

type Format = Parameters<typeof styleText>[0];
type Paint = (format: Format, text: string) => string;
const painter = (colour: boolean): Paint =>
  colour ? (format, text) => styleText(format, text, { validateStream: false }) : (_, text) => text;

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
const wide =
  /^(?:\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f|\p{Regional_Indicator}|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60])/u;
const widthOf = (text: string): number =>
  [...graphemes.segment(text)].reduce((sum, { segment }) => sum + (wide.test(segment) ? 2 : 1), 0);

/** A text in exactly `width` places: filled with spaces, or cut with an ellipsis. Control characters become spaces. */
export function fit(text: string, width: number): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  if (widthOf(line) <= width) return line + ' '.repeat(width - widthOf(line));
  let kept = '';
  for (const { segment } of graphemes.segment(line)) {
    if (widthOf(kept + segment) > width - 1) break;
    kept += segment;
  }
  return `${kept}…${' '.repeat(width - 1 - widthOf(kept))}`;
}

/** How strongly a similarity is shown, and what stands for it where there is no colour. */
function formatOf(similarity: number): Format {
  if (similarity >= 0.75) return ['black', 'bgGreen'];
  if (similarity >= 0.5) return ['green', 'bold'];
  if (similarity >= 0.25) return 'yellow';
  return 'gray';
}

const cellWidth = 6;

/** The matrix of similarities. Where a line is too short for all columns, they follow in further panels. */
export function similarityTable(
  { sentences, similarities }: Pick<Report, 'sentences' | 'similarities'>,
  { columns, colour }: Terminal,
): string {
  const paint = painter(colour);
  const digits = String(sentences.length).length;
  const longest = Math.max(0, ...sentences.map(widthOf));
  const label = Math.max(8, Math.min(longest, columns - digits - 5 - cellWidth * Math.min(sentences.length, 8)));
  const perPanel = Math.max(1, Math.floor((columns - digits - label - 3) / cellWidth));
  const panels: string[] = [];
  for (let from = 0; from < sentences.length; from += perPanel) {
    const to = Math.min(from + perPanel, sentences.length);
    const numbers = Array.from({ length: to - from }, (_, i) => String(from + i + 1).padStart(cellWidth - 1));
    const head = ' '.repeat(digits + label + 3) + paint('bold', numbers.map((n) => `${n} `).join(''));
    const lines = sentences.map((sentence, row) => {
      const cells = similarities[row]!.slice(from, to).map((similarity, i) => {
        const text = `${formatSimilarity(similarity).padStart(cellWidth - 1)} `;
        return from + i === row ? paint('dim', `${'·'.padStart(cellWidth - 2)}  `) : paint(formatOf(similarity), text);
      });
      return `${paint('bold', String(row + 1).padStart(digits + 1))} ${fit(sentence, label)} ${cells.join('')}`;
    });
    panels.push([head, ...lines].map((line) => line.trimEnd()).join('\n'));
  }
  return panels.join('\n\n');
}

/** The ops of the compiled graph, those made for a runtime first, with the blocks that they serve. */
export function kernelTable({ kernels }: Pick<Report, 'kernels'>, { columns, colour }: Terminal): string {
  const paint = painter(colour);
  const sorted = [...kernels].sort(
    (a, b) => Number(b.op.includes('.')) - Number(a.op.includes('.')) || b.paths.length - a.paths.length,
  );
  const width = Math.max(0, ...sorted.map(({ op }) => shortOp(op).length));
  return sorted
    .map(({ op, paths }) => {
      const name = shortOp(op).padEnd(width);
      const places = fit(placesOf(paths).join(', '), Math.max(8, columns - width - 10)).trimEnd();
      return ` ${String(paths.length).padStart(3)} × ${op.includes('.') ? paint('cyan', name) : name}  ${places && paint('dim', places)}`.trimEnd();
    })
    .join('\n');
}

/** The whole report: matrix, closest pair, kernels, times. */
export function reportText(report: Report, terminal: Terminal): string {
  const paint = painter(terminal.colour);
  const title = (text: string) => paint('bold', text);
  const [best] = closestPairs(report.similarities, 1);
  const timings = report.timings.map(({ what, milliseconds }) => ` ${formatTime(milliseconds).padStart(8)}  ${what}`);
  return [
    `${title('Cosine similarity')}\n`,
    similarityTable(report, terminal),
    ...(best ? [`\n Most similar: ${best.first + 1} and ${best.second + 1} (${formatSimilarity(best.similarity)})`] : []),
    `\n${title('Kernels')}  target ${report.target}; ${formatTypes(report)}; ${report.runtime}\n`,
    kernelTable(report, terminal),
    `\n${title('Time')}  ${formatTime(report.perSentence)} per sentence\n`,
    ...timings,
  ].join('\n');
}
