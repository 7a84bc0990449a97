// Measures subjects one after another. One that cannot be measured does not stop the others.
import { OnnxformersError, type Target } from '@onnxformers/core';
import { attentionsOf, kernelsOf } from '../../bench/kernels';
import type { Output } from '../output';
import type { LeftOut, Report, Row } from './report';
import { isLost } from './report';
import type { Subjects } from './subjects';
import { decomposed, dtypeOf, type Where } from './where';

/** Options of a sweep. */
export interface SweepOptions {
  readonly bench: 'attention' | 'block';
  readonly dtype: string;
  readonly vs: string | undefined;
}

/** The report on all subjects. */
export async function sweep({ list, setting }: Subjects, o: SweepOptions, where: Where, output: Output): Promise<Report> {
  const { target, ort, machine, environment } = where;
  const rows: Row[] = [];
  const leftOut: LeftOut[] = [];
  const ways: readonly Target[] = [target, ...(o.vs === undefined ? [] : [decomposed(target)])];
  for (const subject of list)
    try {
      for (const way of ways) {
        output.progress(`measuring ${subject.name} on ${way.name} (${rows.length + leftOut.length + 1}) …`);
        const figure = await subject.measure({ target: way, machine, dtype: dtypeOf(o.dtype) }, ort);
        const { median, spread, tflops, model } = figure;
        const variant = way === target ? 'kernels' : 'decomposed';
        rows.push({
          subject: subject.name,
          ...(ways.length > 1 && { variant }),
          median,
          spread,
          ...(tflops !== undefined && { tflops }),
          ...(way !== target && ratioTo(rows.at(-1)!, { median, spread })),
          attention: o.bench === 'attention' ? attentionsOf(model) : [],
          kernels: kernelsOf(model, machine),
        });
      }
    } catch (error) {
      if (list.length === 1 || !(error instanceof OnnxformersError)) throw error;
      leftOut.push({ name: subject.name, reason: error.message });
    }
  return { bench: o.bench, setting: { ...setting, dtype: o.dtype }, ...environment, rows, leftOut };
}

// Unless one of them is lost in noise.
const ratioTo = (before: Row, row: Pick<Row, 'median' | 'spread'>): Pick<Row, 'ratio'> =>
  isLost(before) || isLost(row) ? {} : { ratio: row.median / before.median };
