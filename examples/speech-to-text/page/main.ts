import { type Device, filesAt, type Pipeline, pipeline } from '@onnxformers/models';
import * as ort from 'onnxruntime-web/webgpu';

const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const [state, text] = ['state', 'text'].map(element) as [HTMLElement, HTMLElement];
const file = element<HTMLInputElement>('file');
const record = element<HTMLButtonElement>('record');

let transcribe: Pipeline<'automatic-speech-recognition'> | undefined;

/** The GPU if the browser offers one; ?device=wasm is the processor. */
async function deviceHere(): Promise<Device> {
  if (new URLSearchParams(location.search).get('device') === 'wasm') return 'wasm';
  const { gpu } = navigator as { readonly gpu?: { requestAdapter(): Promise<unknown> } };
  return (await gpu?.requestAdapter()) ? 'webgpu' : 'wasm';
}

async function open(): Promise<void> {
  const device = await deviceHere();
  const files = filesAt(new URL('model/', location.href).href);
  transcribe = await pipeline('automatic-speech-recognition', files, ort, { device });
  state.textContent = `Ready, on ${device}.`;
}

async function show(sound: Blob): Promise<void> {
  if (!transcribe) return;
  state.textContent = 'Listening …';
  text.textContent = '';
  // WebAssembly holds the page until it is done, so the word is painted first.
  await new Promise((done) => setTimeout(done, 20));
  const start = performance.now();
  text.textContent = (await transcribe(sound)).text;
  state.textContent = `Done in ${((performance.now() - start) / 1000).toFixed(2)} s.`;
}

/** Records until the button is pressed again. */
async function recorded(): Promise<Blob> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts: Blob[] = [];
  recorder.addEventListener('dataavailable', ({ data }) => parts.push(data));
  const stopped = new Promise((done) => recorder.addEventListener('stop', done));
  recorder.start();
  state.textContent = 'Recording …';
  record.textContent = 'Stop';
  record.disabled = false;
  record.addEventListener('click', () => recorder.stop(), { once: true });
  await stopped;
  for (const track of stream.getTracks()) track.stop();
  record.textContent = 'Record';
  record.disabled = true;
  return new Blob(parts, { type: recorder.mimeType });
}

/** One thing at a time; what fails is shown. */
async function attempt(work: () => Promise<void>): Promise<void> {
  busy = true;
  file.disabled = true;
  record.disabled = true;
  state.className = '';
  try {
    await work();
  } catch (error) {
    state.className = 'error';
    state.textContent = error instanceof Error ? error.message : String(error);
  }
  file.disabled = !transcribe;
  record.disabled = !transcribe;
  busy = false;
}
let busy = false;

file.addEventListener('change', () => {
  const [chosen] = file.files ?? [];
  if (chosen) void attempt(() => show(chosen));
});
record.addEventListener('click', () => {
  // While a recording runs, the press ends it.
  if (!busy) void attempt(async () => show(await recorded()));
});
void attempt(open);
