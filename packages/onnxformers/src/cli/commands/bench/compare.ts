// onnxformers bench compare A.json B.json
import { compare, comparisonPage, printComparison } from '../../bench/compare';
import { outOption, writeFiles } from '../../bench/finish';
import { readReport } from '../../bench/report';
import { command } from '../../command';

export const benchCompare = command({
  name: 'bench compare',
  words: ['A.json', 'B.json'],
  summary: 'Compares two reports of a benchmark: the ratios of their times row by row, and what else changed, kernels too.',
  help: [
    'onnxformers bench attention --mask all --out before',
    'onnxformers bench attention --mask all --out after',
    'onnxformers bench compare before.json after.json --out comparison',
    '',
    'A ratio below 1 means that the second report is faster. Rows are matched by their names. A difference smaller than both spreads together is marked.',
  ].join('\n'),
  options: outOption,
  async run([a, b], { out }, output) {
    const paths = [a!, b!] as const;
    const reports = [await readReport(paths[0]), await readReport(paths[1])] as const;
    const comparison = compare(...reports, paths);
    if (out !== undefined) await writeFiles(out, comparison, comparisonPage(comparison, reports));
    output.result(() => printComparison(comparison), comparison);
  },
});
