// The layout of blocks of a record, which configs name by its tensor.
import type { FixtureCase } from '../fixture-set';

/** The flags of a layout as nested lists, [heads][rows][columns]; undefined for a record without one. */
export function recordedLayout({ state }: FixtureCase): readonly (readonly (readonly number[])[])[] | undefined {
  const [, layout] = [...state].find(([name]) => /(^|\.)layout$/.test(name)) ?? [];
  if (!layout) return undefined;
  const [heads, rows, columns] = layout.dims as [number, number, number];
  const range = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i);
  return range(heads).map((h) =>
    range(rows).map((r) => range(columns).map((c) => Number(layout.data[(h * rows + r) * columns + c]))),
  );
}
