// Matrices as pictures: a field for each number, the darker the larger.
import { scaleLinear } from 'd3-scale';

/** A matrix with the names of its rows and columns. */
export interface HeatMap {
  readonly title: string;
  readonly values: readonly (readonly number[])[];
}

/** Matrices over the same tokens. */
export interface HeatMaps {
  readonly title: string;
  /** Names of rows and columns. */
  readonly labels: readonly string[];
  readonly maps: readonly HeatMap[];
  /** The numbers of the palest and the darkest field; what is beyond them is drawn like them. */
  readonly range: readonly [low: number, high: number];
}

const style = `<style>
  .ground { fill: #ffffff; } .frame { fill: none; stroke: #9aa3a7; stroke-width: 0.5; } .fields { fill: #0a6b78; }
  text { font: 11px Helvetica, Arial, sans-serif; fill: #1d2326; } .title { font-size: 13px; } .quiet { fill: #626b70; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #14191b; } .fields { fill: #74d3da; } text { fill: #e6e9ea; } .quiet { fill: #98a2a7; }
  }
</style>`;

const escaped = (words: string): string =>
  words.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);
/** A label of at most 16 characters. */
const short = (label: string): string => (label.length > 16 ? `${label.slice(0, 15)}…` : label);

const [field, letter, gap, legendHeight, shades, acrossAtMost] = [14, 6.2, 24, 34, 20, 4] as const;

/** The fields of a matrix: one path for each shade, because a shape for each field would be a hundred times as much text. */
function fieldsOf(values: HeatMap['values'], [low, high]: HeatMaps['range']): string {
  const shadeOf = scaleLinear([low, high], [0, shades]).clamp(true);
  const paths = new Map<number, string>();
  for (const [i, row] of values.entries())
    for (const [j, value] of row.entries()) {
      const shade = Math.round(shadeOf(value));
      if (shade > 0) paths.set(shade, `${paths.get(shade) ?? ''}M${j * field} ${i * field}h${field}v${field}h-${field}z`);
    }
  return [...paths]
    .sort(([a], [b]) => a - b)
    .map(([shade, d]) => `<path class="fields" fill-opacity="${shade / shades}" d="${d}"/>`)
    .join('\n');
}

function mapOf({ title, values }: HeatMap, labels: readonly string[], range: HeatMaps['range'], margin: number): string {
  const side = labels.length * field;
  const names = labels.map(short);
  return [
    `<text class="title" x="${margin}" y="12">${escaped(title)}</text>`,
    ...names.map((name, i) => `<text x="${margin - 5}" y="${margin + i * field + 11}" text-anchor="end">${escaped(name)}</text>`),
    ...names.map(
      (name, i) => `<text transform="translate(${margin + i * field + 10} ${margin - 5}) rotate(-60)">${escaped(name)}</text>`,
    ),
    `<g transform="translate(${margin} ${margin})">`,
    fieldsOf(values, range),
    `<rect class="frame" width="${side}" height="${side}"/>`,
    '</g>',
  ].join('\n');
}

/** One picture of several matrices, with a legend. */
export function heatMaps({ title, labels, maps, range }: HeatMaps): string {
  const margin = Math.ceil(24 + letter * Math.max(...labels.map((label) => short(label).length)));
  const size = margin + labels.length * field + gap;
  const across = Math.min(acrossAtMost, maps.length);
  const width = Math.max(across * size + gap, 320);
  const height = Math.ceil(maps.length / across) * size + gap + legendHeight;
  const placed = maps.map((map, i) => {
    const [x, y] = [gap + (i % across) * size, gap + legendHeight + Math.floor(i / across) * size];
    return `<g transform="translate(${x} ${y})">\n${mapOf(map, labels, range, margin)}\n</g>`;
  });
  const steps = Array.from(
    { length: 5 },
    (_, i) => `<rect class="fields" fill-opacity="${i / 4}" x="${gap + 30 + 16 * i}" y="32" width="16" height="10"/>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    style,
    `<rect class="ground" width="${width}" height="${height}" rx="6"/>`,
    `<text class="title" x="${gap}" y="22">${escaped(title)}</text>`,
    `<text class="quiet" x="${gap + 24}" y="41" text-anchor="end">${range[0]}</text>`,
    ...steps,
    `<text class="quiet" x="${gap + 116}" y="41">${range[1]}</text>`,
    ...placed,
    '</svg>\n',
  ].join('\n');
}
