// What every benchmark does with its report: print it, and write it as JSON and as a page.
import type { Options } from '../command';
import { writeText } from '../files';
import type { Output } from '../output';
import { pageOf } from './page';
import { printReport } from './print';
import { isLost, nameOf, type Report } from './report';

/** The option of every benchmark that writes files. */
export const outOption = {
  out: { type: 'text', doc: 'also write PATH.json, for bench compare, and PATH.html, a page with charts', value: 'PATH' },
} as const satisfies Options;

/** Prints a report and writes its files. */
export async function finish(report: Report, out: string | undefined, output: Output): Promise<void> {
  const lost = report.rows.filter(isLost).map(nameOf);
  if (lost.length)
    output.note(
      `lost in noise, the spread is more than half of the time: ${lost.join(' · ')}; measure larger sizes, or more often (--repeat)`,
    );
  if (out !== undefined) await writeFiles(out, report, pageOf(report));
  output.result(() => printReport(report), report);
}

/** Writes PATH.json and PATH.html. */
export async function writeFiles(out: string, json: unknown, page: string): Promise<void> {
  await writeText(`${out}.json`, `${JSON.stringify(json, null, 2)}\n`);
  await writeText(`${out}.html`, page);
}
