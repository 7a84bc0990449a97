// onnxformers pattern PATTERN [--out pattern.svg]
import { ConfigError, materialize, printMask } from '@onnxformers/core';
import { patternFrom, patternNames } from '../../patterns/named';
import { drawMasks } from '../../picture/mask';
import { command, UsageError } from '../command';
import { readText, writeText } from '../files';

export const pattern = command({
  name: 'pattern',
  words: ['PATTERN'],
  summary: 'Draws which keys a query attends to under a pattern.',
  help: `onnxformers pattern '{ "name": "swin", "sizes": [8, 8], "window": 4, "shift": 2 }' --out swin.svg
PATTERN is a name (${patternNames.join(', ')}), JSON, or a file with JSON. Patterns combine: { "and": [ … ] }, { "or": [ … ] }, { "not": … }.`,
  options: {
    seq: { type: 'integer', doc: 'number of positions, if the pattern does not say it (default 16)' },
    head: { type: 'integer', doc: 'the head that is drawn, where they differ', default: 0 },
    out: {
      type: 'text',
      doc: 'file to write; without it the pattern is printed',
      value: 'FILE.svg',
      form: { pattern: /\.svg$/, words: 'a file that ends in .svg' },
    },
  },
  async run([given], values, output) {
    const { mask, seq: own, heads = 1 } = patternFrom(await readPattern(given!));
    if (own !== undefined && values.seq !== undefined && own !== values.seq)
      throw new ConfigError({
        path: '--seq',
        problem: 'the pattern has its own size',
        expected: String(own),
        got: String(values.seq),
      });
    const seq = own ?? values.seq ?? 16;
    if (seq < 1) throw new UsageError('--seq must be at least 1');
    if (values.head >= heads) throw new UsageError(`--head must be below ${heads}`);
    const { data } = materialize(mask, { seq, heads });
    const flags = Array.from(data as Uint8Array).slice(values.head * seq * seq, (values.head + 1) * seq * seq);
    const pairs = flags.reduce((sum, flag) => sum + flag, 0);
    const density = pairs / flags.length;
    const about = { pattern: printMask(mask), seq, heads, head: values.head, pairs, density };
    const summary = `${about.pattern}: ${pairs} of ${flags.length} pairs, ${(100 * density).toFixed(1)} %`;
    if (values.out === undefined) {
      const rows = Array.from({ length: seq }, (_, i) => flags.slice(i * seq, (i + 1) * seq));
      const drawn = rows.map((row) => row.map((flag) => (flag ? '■' : '·')).join('')).join('\n');
      output.result(() => `${drawn}\n${summary}`, { ...about, rows });
      return;
    }
    const picture = drawMasks([{ title: given!.length < 40 ? given! : 'pattern', mask, seq, heads, head: values.head }], {
      side: 420,
    });
    await writeText(values.out, picture);
    output.result(() => `${values.out}: ${summary}`, { file: values.out, ...about });
  },
});

/** A name, JSON, or the JSON of a file. */
async function readPattern(given: string): Promise<unknown> {
  if (patternNames.includes(given)) return { name: given };
  const text = given.trimStart().startsWith('{') ? given : given.endsWith('.json') ? await readText(given) : undefined;
  if (text === undefined) return { name: given };
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`PATTERN is not JSON: ${(error as Error).message}`);
  }
}
