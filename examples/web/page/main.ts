import { formatSimilarity, formatTime, similaritiesOf } from '../../sentence-similarity/report';
import { builtIn } from '../../sentence-similarity/sentences';
import { createEncoder, type Encoder } from './encoder';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [device, loading, form, time, result] = ['device', 'loading', 'form', 'time', 'result'].map(element) as HTMLElement[];
const sentences = element<HTMLTextAreaElement>('sentences');
const button = element<HTMLButtonElement>('compare');

function cell(similarity: number, same: boolean): HTMLTableCellElement {
  const td = document.createElement('td');
  td.textContent = same ? '·' : formatSimilarity(similarity);
  td.title = similarity.toFixed(6);
  td.className = same ? 'same' : '';
  td.style.setProperty('--t', Math.min(1, Math.max(0, similarity)).toFixed(3));
  return td;
}

function head(number: number, sentence: string, scope: 'row' | 'col'): HTMLTableCellElement {
  const th = document.createElement('th');
  const [place, words] = [document.createElement('b'), document.createElement('span')];
  place.textContent = String(number);
  words.textContent = sentence;
  th.scope = scope;
  th.title = sentence;
  th.append(place, ...(scope === 'row' ? [words] : []));
  return th;
}

function tableOf(lines: readonly string[], similarities: readonly (readonly number[])[]): HTMLTableElement {
  const table = document.createElement('table');
  const top = table.createTHead().insertRow();
  top.append(document.createElement('td'), ...lines.map((line, i) => head(i + 1, line, 'col')));
  const body = table.createTBody();
  for (const [i, row] of similarities.entries())
    body.insertRow().append(head(i + 1, lines[i]!, 'row'), ...row.map((similarity, j) => cell(similarity, i === j)));
  return table;
}

async function show(encoder: Encoder): Promise<void> {
  const lines = sentences.value.split('\n').filter((line) => line.trim() !== '');
  if (lines.length < 2) {
    time!.textContent = 'Two sentences at least, each on a line of its own.';
    result!.replaceChildren();
    return;
  }
  time!.textContent = 'Comparing …';
  // WebAssembly holds the page until it is done, so the words are painted first.
  await new Promise((done) => setTimeout(done, 20));
  const start = performance.now();
  const vectors = await encoder.encode(lines);
  time!.textContent = `${formatTime((performance.now() - start) / lines.length)} per sentence`;
  result!.replaceChildren(tableOf(lines, similaritiesOf(vectors)));
}

function fail(error: unknown): void {
  loading!.hidden = true;
  device!.className = 'error';
  device!.textContent = error instanceof Error ? error.message : String(error);
}

async function main(): Promise<void> {
  sentences.value = builtIn.join('\n');
  const encoder = await createEncoder((part) => {
    (loading as HTMLProgressElement).value = part;
  });
  loading!.hidden = true;
  device!.textContent = `Runs on ${encoder.device}${encoder.refusal === undefined ? '' : `, not on WebGPU: ${encoder.refusal}`}.`;
  device!.dataset.device = encoder.device;
  form!.addEventListener('submit', (event) => {
    event.preventDefault();
    button.disabled = true;
    show(encoder)
      .catch(fail)
      .finally(() => {
        button.disabled = false;
      });
  });
  await show(encoder);
  button.disabled = false;
}

main().catch(fail);
