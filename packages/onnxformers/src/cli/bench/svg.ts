// Bars in SVG.
import { scaleLinear } from 'd3-scale';
import { rect, svg, text } from '../../picture/svg';

const round = (n: number): number => Math.round(10 * n) / 10;

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
