// Prints paths that differ only in layer numbers as one: `layers.0–23.mixer`.

/** Numbers as ranges: `0–3, 7`. */
export function printRanges(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const n of sorted) {
    const last = runs.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : to === from + 1 ? `${from}, ${to}` : `${from}–${to}`)).join(', ');
}

const isNumber = (segment: string): boolean => /^\d+$/.test(segment);

/** A path without its layer numbers: paths of the same shape can be printed as one. */
export const shapeOf = (path: string): string => path.replace(/(?<=^|\.)\d+(?=$|\.)/g, '#');

/** Paths of one shape as one text if their numbers form complete ranges, otherwise one after another. */
export function printPaths(paths: readonly string[]): string {
  const distinct = [...new Set(paths)];
  const segments = distinct.map((p) => p.split('.'));
  const [first] = segments;
  if (!first || distinct.length === 1) return distinct.join(', ');
  const columns = first.map((_, i) => [...new Set(segments.map((s) => s[i]!))]);
  const product = columns.reduce((n, column) => n * column.length, 1);
  if (product !== distinct.length) return distinct.join(', ');
  return columns.map((column) => (column.every(isNumber) ? printRanges(column.map(Number)) : column[0]!)).join('.');
}

/** How the root of a model is printed. */
export const rootPlace = 'model';

/**
 * True for paths at a place or below it, where the place is a path or a text of {@link printPaths}: `layers.0–2.mixer`, `layers.1, 2`. A
 * hyphen is accepted for the dash, and a second call of a module (`shared@2`) counts as below its name.
 */
export function isBelow(place: string): (path: string) => boolean {
  if (place === '' || place === rootPlace) return () => true;
  const whole = place.split('.').map(segmentsOf);
  const each = whole.every((allowed) => allowed !== undefined)
    ? [whole]
    : place.split(', ').map((p) => p.split('.').map(segmentsOf));
  return (path) => {
    const segments = path.split('.');
    return each.some(
      (pattern) =>
        pattern.length <= segments.length &&
        pattern.every((allowed, i) => allowed?.(segments[i]!) || allowed?.(segments[i]!.replace(/@\d+$/, ''))),
    );
  };
}

// Parses one part of a place; undefined for a list of paths that has not been split yet.
function segmentsOf(part: string): ((segment: string) => boolean) | undefined {
  if (!/^\d+(?:[–-]\d+)?(?:, ?\d+(?:[–-]\d+)?)*$/.test(part)) return part.includes(', ') ? undefined : (s) => s === part;
  const ranges = part.split(/, ?/).map((range) => range.split(/[–-]/).map(Number));
  return (s) => isNumber(s) && ranges.some(([from, to = from]) => Number(s) >= from! && Number(s) <= to!);
}
