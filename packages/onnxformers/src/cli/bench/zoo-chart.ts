// The times of mechanisms over the length of the sequence.
import { exact } from '../../bench/zoo';
import { lineChart } from './lines';
import { isLost, type Report } from './report';

/** A line for each mechanism; rows that are lost in noise have no point. */
export function zooChart({ rows, target }: Pick<Report, 'rows' | 'target'>): string {
  const kept = rows.filter((row) => !isLost(row) && row.seq !== undefined && row.median > 0);
  return lineChart({
    title: `One call of each mechanism by length, target ${target}`,
    axes: { x: 'positions', y: 'milliseconds a call' },
    lines: [...new Set(kept.map(({ subject }) => subject))].map((subject) => ({
      label: subject,
      strong: subject === exact,
      points: kept.filter((row) => row.subject === subject).map((row) => [row.seq!, row.median] as const),
    })),
  });
}
