import { describe, expect, it } from 'vitest';
import type { Report } from './report';
import { fit, kernelTable, reportText, similarityTable, terminalOf } from './table';

const plain = { columns: 80, colour: false };
const report: Report = {
  sentences: ['How old are you?', 'What is your age?', '我能吞下玻璃而不伤身体。\u001b[31m\nred'],
  similarities: [
    [1, 0.853, -0.001],
    [0.853, 1, -0.12],
    [-0.001, -0.12, 1],
  ],
  target: 'cpu',
  dtype: 'float32',
  computes: 'float32',
  runtime: 'onnxruntime-node 1.30.0, CPU',
  kernels: [
    { op: 'Gemm', paths: ['layers.0.up', 'layers.1.up', 'dense'] },
    { op: 'com.microsoft.MultiHeadAttention', paths: ['layers.0.mixer', 'layers.1.mixer'] },
  ],
  perSentence: 0.4213,
  timings: [{ what: 'first run', milliseconds: 5.21 }],
};

describe('table', () => {
  it('shows the whole report', () => {
    expect(reportText(report, plain)).toMatchInlineSnapshot(`
      "Cosine similarity

                                               1     2     3
       1 How old are you?                     ·   0.85  0.00
       2 What is your age?                  0.85    ·  -0.12
       3 我能吞下玻璃而不伤身体。 [31m red  0.00 -0.12    ·

       Most similar: 1 and 2 (0.85)

      Kernels  target cpu; weights and arithmetic float32; onnxruntime-node 1.30.0, CPU

         2 × MultiHeadAttention  layers.*.mixer
         3 × Gemm                layers.*.up, dense

      Time  0.421 ms per sentence

        5.21 ms  first run"
    `);
  });

  it('has escape sequences only for colours, and none from the sentences', () => {
    expect(reportText(report, plain)).not.toContain('\u001b');
    const coloured = reportText(report, { ...plain, colour: true });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what is looked for
    expect(coloured.replace(/\u001b\[\d+m/g, '').replace(/ +$/gm, '')).toBe(reportText(report, plain));
    expect(coloured).toContain('\u001b[42m 0.85 \u001b[49m');
  });

  it.each([40, 60, 80, 132])('keeps to %d columns, in several panels where one is too narrow', (columns) => {
    const n = 23;
    const sentences = Array.from({ length: n }, (_, i) => `sentence ${i} `.repeat(9));
    const similarities = sentences.map((_, i) => sentences.map((_, j) => (i === j ? 1 : -0.99)));
    const lines = similarityTable({ sentences, similarities }, { columns, colour: false }).split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
    const heads = lines.filter((line) => /^[\s\d]+$/.test(line) && line.trim());
    expect(heads.flatMap((line) => line.trim().split(/\s+/)).map(Number)).toEqual(sentences.map((_, i) => i + 1));
  });

  it('puts kernels made for a runtime first', () => {
    expect(
      kernelTable(report, plain)
        .split('\n')
        .map((line) => line.trim()),
    ).toEqual(['2 × MultiHeadAttention  layers.*.mixer', '3 × Gemm                layers.*.up, dense']);
  });

  it('survives one sentence and an empty one', () => {
    const text = similarityTable({ sentences: [''], similarities: [[1]] }, plain);
    expect(text.split('\n')).toHaveLength(2);
  });

  it.each([
    ['short', 8, 'short   '],
    ['longer than it', 8, 'longer …'],
    ['日本語', 8, '日本語  '],
    ['日本語の文章', 8, '日本語… '],
    ['👩‍👩‍👧‍👦 x', 5, '👩‍👩‍👧‍👦 x '],
    ['é́a', 3, 'é́a '],
    [' a\tb\n\u0007c ', 6, 'a b c '],
  ])('fits %j into %d places', (text, width, fitted) => expect(fit(text, width)).toBe(fitted));

  it.each([
    [{ isTTY: true, columns: 100 }, {}, { columns: 100, colour: true }],
    [{ isTTY: true, columns: 100 }, { NO_COLOR: '1' }, { columns: 100, colour: false }],
    [{ isTTY: true, columns: 100 }, { NO_COLOR: '' }, { columns: 100, colour: true }],
    [{ isTTY: true, columns: 12 }, { TERM: 'dumb' }, { columns: 40, colour: false }],
    [{}, {}, { columns: 80, colour: false }],
  ])('takes %j with %j for %j', (stream, env, terminal) => expect(terminalOf(stream, env)).toEqual(terminal));
});
