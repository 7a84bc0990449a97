// Style sheet and script of the page.

/** Colours are set once for each scheme; cells mix theirs from `--low` and `--high` by their level `--t`. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1d2326; --soft: #626b70; --line: #e4e1dc;
  --low: #f1efeb; --high: #0a5a66; --on-low: #1d2326; --on-high: #ffffff; --turn: 0.66;
  --accent: #0a6b78; --accent-fill: #d8eef0; --op-fill: #f1efeb; --edge: #9aa3a7;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121618; --card: #191e21; --ink: #e6e9ea; --soft: #98a2a7; --line: #2b3236;
    --low: #20272a; --high: #7fdde2; --on-low: #e6e9ea; --on-high: #06292d; --turn: 0.48;
    --accent: #74d3da; --accent-fill: #12444a; --op-fill: #242b2f; --edge: #6b757a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 76rem; padding: 2.5rem clamp(1rem, 4vw, 3rem) 2rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { margin: 0; font-size: 2rem; line-height: 1.2; letter-spacing: -0.02em; font-weight: 650; }
header p { margin: 0.4rem 0 1.5rem; color: var(--soft); max-width: 46rem; }
h2 { margin: 0 0 1rem; font-size: 1.05rem; font-weight: 650; }
.facts { display: flex; flex-wrap: wrap; gap: 0.75rem 2.5rem; margin: 0 0 2rem; padding: 1rem 0; border-block: 1px solid var(--line); }
dt { color: var(--soft); font-size: 0.8rem; }
dd { margin: 0; font-weight: 600; }
.facts div:first-child dd { color: var(--accent); }
main { display: flex; flex-wrap: wrap; gap: 1.25rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 0.75rem; padding: 1.25rem 1.5rem; min-width: 0; max-width: 100%; flex: 999 1 20rem; }
.similarities { flex: 1 1 auto; } .all-kernels { flex: 999 1 40rem; overflow-x: auto; } .whole { flex: 1 1 100%; }
.scroll { overflow: auto; }
.matrix { border-collapse: separate; border-spacing: 2px; font-variant-numeric: tabular-nums; }
.matrix thead th { color: var(--soft); font-weight: 600; font-size: 0.85rem; padding-bottom: 0.2rem; }
.matrix tbody th { text-align: left; font-weight: 400; padding-right: 0.9rem; position: sticky; left: 0; background: var(--card); white-space: nowrap; }
.matrix tbody th b { display: inline-block; min-width: 1.6em; padding-right: 0.6em; text-align: right; color: var(--soft); font-weight: 600; }
.matrix tbody th span { display: inline-block; max-width: 22rem; overflow: hidden; text-overflow: ellipsis; vertical-align: bottom; }
.matrix tbody td { width: var(--cell); min-width: var(--cell); height: var(--cell); text-align: center; border-radius: 5px; }
.matrix td[style], .value {
  background: color-mix(in oklab, var(--low), var(--high) calc(var(--t) * 100%));
  color: color-mix(in oklab, var(--on-low), var(--on-high) calc(clamp(0, (var(--t) - var(--turn)) * 1000, 1) * 100%));
}
.matrix td.same { border: 1px dashed var(--edge); opacity: 0.6; }
.large { --cell: 3.4rem; } .small { --cell: 2.4rem; font-size: 0.8rem; } .tiny { --cell: 1.2rem; }
.small tbody th, .tiny tbody th { font-size: 0.9rem; }
.tiny tbody td { font-size: 0; border-radius: 2px; } .tiny { border-spacing: 1px; } .tiny thead th { font-size: 0.6rem; }
.tiny tbody th { line-height: 1.2rem; font-size: 0.8rem; }
.matrix .lit { color: var(--ink); } .matrix thead .lit, .matrix tbody .lit b { color: var(--accent); }
.matrix td.pointed { outline: 2px solid var(--accent); outline-offset: 1px; }
.legend { display: flex; align-items: center; gap: 0.6rem; margin: 1rem 0 0; color: var(--soft); font-size: 0.85rem; min-height: 2.8em; }
.ramp { flex: none; width: 9rem; height: 0.7rem; border-radius: 4px; background: linear-gradient(in oklab to right, var(--low), var(--high)); }
.legend output {
  margin-left: 1rem; min-width: 0; color: var(--ink);
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden;
}
.pairs { list-style: none; margin: 0; padding: 0; display: grid; gap: 0.9rem; }
.pairs li { display: grid; grid-template-columns: 3.2rem 1fr; gap: 0.9rem; align-items: center; overflow-wrap: anywhere; }
.value { padding: 0.35rem 0; text-align: center; border-radius: 5px; font-variant-numeric: tabular-nums; }
q { quotes: none; } .pairs q { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.pairs q + q { margin-top: 0.2rem; }
.plain { border-collapse: collapse; width: 100%; }
.plain td, .plain th { padding: 0.4rem 1rem 0.4rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: baseline; }
.plain tr:last-child td { border-bottom: 0; }
.plain th { color: var(--soft); font-size: 0.8rem; font-weight: 400; }
.plain .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.kernels .number { width: 4rem; }
.kernels td.op { white-space: nowrap; font-weight: 600; }
.op.fused { color: var(--accent); }
small { color: var(--soft); font-weight: 400; }
code { font: 0.8rem/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; color: var(--soft); margin-right: 0.6rem; }
.key { display: flex; gap: 0.75rem; margin: 0 0 1rem; font-size: 0.85rem; }
.chip { padding: 0.1rem 0.7rem; border-radius: 0.5rem; background: var(--op-fill); border: 1px solid var(--edge); }
.chip.fused { background: var(--accent-fill); border-color: var(--accent); }
.graph { text-align: center; overflow-x: auto; }
.graph svg { max-width: 100%; height: auto; }
.graph text { fill: var(--ink); } .graph .node text + text { fill: var(--soft); font-size: 10px; }
.graph .cluster > path, .graph .cluster > polygon { stroke: var(--line); fill: color-mix(in oklab, var(--card), var(--op-fill) 35%); }
.graph .cluster > text { fill: var(--soft); paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.graph .node > path { fill: var(--op-fill); stroke: var(--edge); }
.graph .fused > path { fill: var(--accent-fill); stroke: var(--accent); }
.graph .end > path { fill: none; stroke: var(--soft); }
.graph .edge path { stroke: var(--edge); } .graph .edge polygon { fill: var(--edge); stroke: var(--edge); }
footer { margin-top: 2rem; color: var(--soft); font-size: 0.85rem; }
@media (max-width: 40rem) { .large { --cell: 2.6rem; font-size: 0.85rem; } .matrix tbody th span { max-width: 9rem; } section { padding: 1rem; }
  .kernels thead { display: none; } .kernels tr { display: grid; grid-template-columns: 2.5rem 1fr; border-bottom: 1px solid var(--line); padding: 0.4rem 0; }
  .kernels td { border: 0; padding: 0; } .kernels .number { width: auto; padding-right: 0.8rem; } .kernels td.op { white-space: normal; } .kernels td:last-child { grid-column: 2; } }
@media print { .scroll, .graph { overflow: visible; } section:not(.whole) { break-inside: avoid; } }
`;

/** Says in words what the pointer is on, and lights the two sentences. */
export const script = `
const matrix = document.querySelector('.matrix'), words = document.getElementById('pointed');
const rows = [...matrix.tBodies[0].rows], heads = matrix.tHead.rows[0].cells;
let lit = [];
matrix.addEventListener('pointerover', ({ target }) => {
  const cell = target.closest('tbody td');
  for (const element of lit) element.classList.remove('lit', 'pointed');
  lit = []; words.textContent = '';
  if (!cell || !cell.hasAttribute('style')) return;
  const i = rows.indexOf(cell.parentElement), j = cell.cellIndex;
  lit = [cell.parentElement.cells[0], heads[j], cell];
  lit[0].classList.add('lit'); lit[1].classList.add('lit'); cell.classList.add('pointed');
  const text = (k) => '\\u201c' + rows[k].querySelector('span').textContent + '\\u201d';
  words.textContent = cell.textContent + ' between ' + text(i) + ' and ' + text(j - 1);
});
matrix.addEventListener('pointerleave', () => { for (const element of lit) element.classList.remove('lit', 'pointed'); lit = []; words.textContent = ''; });
`;
