import { targets } from '@onnxformers/core';
import { type FilesByName, filesAt, type PretrainedFiles } from '@onnxformers/models';
import * as ort from 'onnxruntime-web/wasm';
import { type InnerStates, numbersOf, type Observer, openObserver } from '../inner-states';
import { attentionPicture, hiddenStatesPicture } from '../pictures';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [state, attention, hidden] = ['state', 'attention', 'hidden'].map(element) as [HTMLElement, HTMLElement, HTMLElement];
const [folder, text, layer] = ['folder', 'text', 'layer'].map(element) as [HTMLInputElement, HTMLInputElement, HTMLInputElement];
const button = element<HTMLButtonElement>('look');
const numbers = element<HTMLAnchorElement>('numbers');

let observer: Observer | undefined;
let states: InnerStates | undefined;

function show(place: HTMLElement, svg: string): void {
  place.replaceChildren(document.importNode(new DOMParser().parseFromString(svg, 'image/svg+xml').documentElement, true));
}

function draw(): void {
  if (states) show(attention, attentionPicture(states, Number(layer.value) - 1));
}

async function look(): Promise<void> {
  if (!observer) return;
  const start = performance.now();
  states = await observer.look(text.value);
  state.textContent = `${states.tokens.length} tokens through ${observer.depth} layers in ${Math.round(performance.now() - start)} ms.`;
  state.className = '';
  draw();
  show(hidden, hiddenStatesPicture(states));
  URL.revokeObjectURL(numbers.href);
  numbers.href = URL.createObjectURL(new Blob([JSON.stringify(numbersOf(states))], { type: 'application/json' }));
  numbers.hidden = false;
}

async function open(files: PretrainedFiles | FilesByName): Promise<void> {
  state.textContent = 'Loading …';
  await observer?.dispose();
  observer = undefined;
  observer = await openObserver(files, ort, targets.wasm);
  layer.max = String(observer.depth);
  layer.value = layer.max;
  await look();
}

/** One thing at a time; what fails is shown. */
async function attempt(work: () => Promise<void>): Promise<void> {
  button.disabled = true;
  folder.disabled = true;
  try {
    await work();
  } catch (error) {
    state.className = 'error';
    state.textContent = error instanceof Error ? error.message : String(error);
  }
  folder.disabled = false;
  button.disabled = !observer;
}

// Names are those below the chosen folder.
const chosen = (): FilesByName =>
  new Map([...(folder.files ?? [])].map((file) => [file.webkitRelativePath.replace(/^[^/]*\//, ''), file]));

folder.addEventListener('change', () => void attempt(() => open(chosen())));
layer.addEventListener('input', draw);
element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  void attempt(look);
});

// ?model=ADDRESS is another place with range requests, of this server or of one that allows it.
const address = new URL(new URLSearchParams(location.search).get('model') ?? 'model/', location.href);
void attempt(() => open(filesAt(address.href)));
