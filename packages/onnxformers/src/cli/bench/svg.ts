// Pictures in SVG: their frame and colours, for light and dark pages, and bars.
import { scaleLinear } from 'd3-scale';

// Each picture has a ground of its own, so that it can be read on a page whose colours do not follow the system's.
const style = `<style>
  .ground { fill: #ffffff; } text { font: 13px Helvetica, Arial, sans-serif; fill: #1d2326; } .small { font-size: 11px; fill: #626b70; }
  .yes { fill: #0a6b78; } .no { fill: #e9e6e1; } .other { fill: #c07a2b; } .third { fill: #7a6aa8; } .line { stroke: #9aa3a7; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #14191b; } text { fill: #e6e9ea; } .small { fill: #98a2a7; }
    .yes { fill: #74d3da; } .no { fill: #2b3236; } .other { fill: #e2a45c; } .third { fill: #b3a6dc; } .line { stroke: #6b757a; }
  }
</style>`;

/** Text of a document. */
export const escaped = (words: string): string =>
  words.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
const round = (n: number): number => Math.round(10 * n) / 10;

/** A picture of its parts. */
export function svg(title: string, [width, height]: readonly [number, number], parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    style,
    `<rect class="ground" width="${width}" height="${height}" rx="6"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}
/** A rectangle of a kind: `yes`, `no`, `other`, `third`. */
export const rect = (kind: string, x: number, y: number, width: number, height: number): string =>
  `<rect class="${kind}" x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"/>`;
/** A line of text; `more` has further attributes. */
export const text = (x: number, y: number, words: string, more = ''): string =>
  `<text x="${round(x)}" y="${round(y)}"${more}>${escaped(words)}</text>`;

/** Bars beside their labels. */
export interface BarChart {
  readonly title: string;
  /** What the axis counts, in which unit. */
  readonly axis: string;
  /** One or up to three kinds of bars, with a legend if there are several. */
  readonly series: readonly string[];
  readonly rows: readonly {
    readonly label: string;
    /** One for each series; undefined: no bar. */
    readonly values: readonly (number | undefined)[];
    /** Printed after each bar; default its value. */
    readonly notes?: readonly string[];
  }[];
}

const kinds = ['yes', 'other', 'third'] as const;
/** Width of a character of 13 pixels, and of 11, on average. */
const [letter, smallLetter] = [7.2, 5.8];

/** A chart of horizontal bars. */
export function barChart({ title, axis, series, rows }: BarChart): string {
  const [bar, gap, wide] = [15, 10, 480];
  const values = rows.flatMap((row) => row.values.filter((x) => x !== undefined));
  const scale = scaleLinear([0, Math.max(...values, 0) || 1], [0, wide]).nice();
  const left = 24 + letter * Math.max(...rows.map(({ label }) => label.length));
  const right = 20 + smallLetter * Math.max(...rows.flatMap((row) => row.values.map((_, i) => noteOf(row, i).length)));
  const top = series.length > 1 ? 44 : 20;
  const line = series.length * (bar + 2) + gap;
  const bottom = top + rows.length * line;
  const ticks = scale.ticks(6);
  const tick = scale.tickFormat(6);
  const x = (n: number): number => left + scale(n);
  let at = left;
  const legend = series.flatMap((name, i) => {
    const start = at;
    at += 40 + letter * name.length;
    return [rect(kinds[i]!, start, 14, 12, 12), text(start + 18, 25, name)];
  });
  return svg(
    title,
    [Math.ceil(left + wide + right), bottom + 44],
    [
      ...(series.length > 1 ? legend : []),
      ...ticks.flatMap((n) => [
        `<line class="line" x1="${round(x(n))}" x2="${round(x(n))}" y1="${top - 6}" y2="${bottom}" stroke-width="0.5"/>`,
        text(x(n), bottom + 16, tick(n), ' class="small" text-anchor="middle"'),
      ]),
      ...rows.flatMap((row, i) => {
        const y = top + i * line;
        const middle = y + (series.length * (bar + 2)) / 2 + 4;
        return [
          text(left - 10, middle, row.label, ' text-anchor="end"'),
          ...row.values.flatMap((value, k) => {
            if (value === undefined) return [];
            const above = y + k * (bar + 2);
            return [
              rect(kinds[k]!, left, above, x(value) - left, bar),
              text(x(value) + 6, above + bar - 3, noteOf(row, k), ' class="small"'),
            ];
          }),
        ];
      }),
      text(left, bottom + 35, axis, ' class="small"'),
    ],
  );
}

const noteOf = ({ values, notes }: BarChart['rows'][number], i: number): string =>
  values[i] === undefined ? '' : (notes?.[i] ?? String(values[i]));
