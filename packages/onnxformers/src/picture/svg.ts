// Pictures in SVG: their frame and colours, for light and dark pages.

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
