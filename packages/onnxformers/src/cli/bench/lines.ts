// Lines over logarithmic axes in SVG.
import { scaleLog } from 'd3-scale';
import { escaped, svg, text } from '../../picture/svg';

const round = (n: number): number => Math.round(10 * n) / 10;

/** Lines, with their names at their ends. */
export interface LineChart {
  readonly title: string;
  /** What the axes count, in which unit. */
  readonly axes: { readonly x: string; readonly y: string };
  readonly lines: readonly {
    readonly label: string;
    readonly points: readonly (readonly [x: number, y: number])[];
    /** Drawn thick, as what the others are compared with. */
    readonly strong?: boolean;
  }[];
}

/** Colours that differ on light and on dark ground, and dashes, so that each line has a pair of its own. */
const colours = ['#0a7f8c', '#c07a2b', '#7a6aa8', '#b5484f', '#4f8a3c', '#3f6fb5', '#a2559c', '#87804a'] as const;
const dashes = ['', '6 3', '2 3'] as const;
const [wide, high, lineHeight] = [560, 420, 14];
/** Width of a character of 11 pixels on average. */
const letter = 5.8;

/** Labels at these heights, moved so that none covers another. */
function spread(heights: readonly number[]): readonly number[] {
  const order = heights.map((_, i) => i).sort((a, b) => heights[a]! - heights[b]!);
  const placed = [...heights];
  for (const [k, i] of order.entries()) if (k > 0) placed[i] = Math.max(placed[i]!, placed[order[k - 1]!]! + lineHeight);
  return placed;
}

/** A chart of lines, both axes logarithmic. Lines without a point are left out. */
export function lineChart({ title, axes, lines }: LineChart): string {
  const shown = lines.filter(({ points }) => points.length);
  const all = shown.flatMap(({ points }) => points);
  const [left, top] = [64, 24];
  const extent = (of: readonly number[]): [number, number] => [Math.min(...of), Math.max(...of)];
  const x = scaleLog(extent(all.map(([at]) => at)), [left, left + wide]).base(2);
  const y = scaleLog(extent(all.map(([, at]) => at)), [top + high, top]).nice();
  const columns = [...new Set(all.map(([at]) => at))].sort((a, b) => a - b);
  const ends = spread(shown.map(({ points }) => y(points.at(-1)![1])));
  const bottom = Math.max(top + high, ...ends) + 20;
  const right = left + wide + 40 + letter * Math.max(0, ...shown.map(({ label }) => label.length));
  const powers = y.ticks(6).filter((n) => Number.isInteger(Math.round(1e6 * Math.log10(n)) / 1e6));
  return svg(
    title,
    [Math.ceil(right), Math.ceil(bottom + 28)],
    [
      ...columns.map((n) => text(x(n), top + high + 16, n.toLocaleString('en'), ' class="small" text-anchor="middle"')),
      ...powers.flatMap((n) => [
        `<line class="line" x1="${left}" x2="${left + wide}" y1="${round(y(n))}" y2="${round(y(n))}" stroke-width="0.5"/>`,
        text(left - 8, y(n) + 4, n.toLocaleString('en', { maximumSignificantDigits: 1 }), ' class="small" text-anchor="end"'),
      ]),
      ...shown.flatMap(({ label, points, strong }, i) => {
        const colour = colours[i % colours.length]!;
        const dash = dashes[Math.floor(i / colours.length) % dashes.length]!;
        const path = points.map(([a, b], k) => `${k ? 'L' : 'M'}${round(x(a))} ${round(y(b))}`).join('');
        const [lastX, lastY] = points.at(-1)!;
        const style = `fill="none" stroke="${colour}" stroke-width="${strong ? 3 : 1.5}"${dash && ` stroke-dasharray="${dash}"`}`;
        return [
          `<path d="${path}" ${style}><title>${escaped(label)}</title></path>`,
          ...points.map(([a, b]) => `<circle cx="${round(x(a))}" cy="${round(y(b))}" r="${strong ? 3 : 2}" fill="${colour}"/>`),
          `<path d="M${round(x(lastX) + 4)} ${round(y(lastY))}L${left + wide + 22} ${round(ends[i]!)}" fill="none" stroke="${colour}" stroke-width="0.5"/>`,
          text(left + wide + 26, ends[i]! + 4, label, ` class="small"${strong ? ' font-weight="bold"' : ''}`),
        ];
      }),
      text(left, bottom + 18, `${axes.y} by ${axes.x}`, ' class="small"'),
    ],
  );
}
