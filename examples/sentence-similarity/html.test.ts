import { describe, expect, it } from 'vitest';
import { escapeHtml, reportPage } from './html';
import type { Report } from './report';

const report: Report = {
  sentences: ['plain', '<script>alert("1")</script> & \'more\'', ''],
  similarities: [
    [1, 0.853, -0.2],
    [0.853, 1, 0.3],
    [-0.2, 0.3, 1],
  ],
  target: 'cpu',
  dtype: 'float32',
  computes: 'float32',
  runtime: 'onnxruntime-node 1.30.0, <CPU>',
  kernels: [
    { op: 'Gemm', paths: ['dense'] },
    { op: 'com.microsoft.MultiHeadAttention', paths: ['layers.0.mixer', 'layers.1.mixer'] },
  ],
  perSentence: 0.4213,
  timings: [{ what: 'first run', milliseconds: 5.21 }],
};

describe('page', () => {
  const page = reportPage(report, '<svg id="graph0"></svg>');

  it('shows what people wrote as text', () => {
    expect(page).toContain(escapeHtml(report.sentences[1]!));
    expect(page).not.toContain('<script>alert');
    expect(page).toContain('onnxruntime-node 1.30.0, &lt;CPU&gt;');
    expect(escapeHtml(`<a b="c" d='e'>&`)).toBe('&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;');
  });

  it('calls no method of the values', () => {
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"`);
    expect(page).not.toMatch(/\b(?:src|href)=|url\(|@import|https?:/);
  });

  it('has a coloured cell for each two different sentences', () => {
    const cells = [...page.matchAll(/<td style="--t:([\d.]+)">(-?[\d.]+)<\/td>/g)].map(([, level, text]) => [level, text]);
    expect(cells).toEqual([
      ['0.853', '0.85'],
      ['0.000', '-0.20'],
      ['0.853', '0.85'],
      ['0.300', '0.30'],
      ['0.000', '-0.20'],
      ['0.300', '0.30'],
    ]);
    expect(page.match(/<td class="same"/g)).toHaveLength(3);
  });

  it('shows kernels made for a runtime first', () => {
    expect(page.indexOf('MultiHeadAttention <small>com.microsoft</small>')).toBeGreaterThan(0);
    expect(page.indexOf('MultiHeadAttention')).toBeLessThan(page.indexOf('Gemm'));
    expect(page).toContain('<code>layers.*.mixer</code>');
  });

  it('has the graph only if there is one', () => {
    expect(page).toContain('<svg id="graph0"></svg>');
    expect(reportPage(report)).not.toContain('The compiled graph');
  });

  it('has no pairs of a single sentence', () => {
    expect(reportPage({ ...report, sentences: ['one'], similarities: [[1]] })).not.toContain('Closest pairs');
  });
});
