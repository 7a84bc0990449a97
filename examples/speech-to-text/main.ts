// npm start -- fixtures/speech.wav
import { pipeline } from '@onnxformers/models/node';
import * as ort from 'onnxruntime-node';
import { moonshineTiny } from './checkpoint';

const files = process.argv.slice(2);
if (!files.length) {
  console.error('Which WAV file? npm start -- FILE.wav');
  process.exit(1);
}
const transcribe = await pipeline('automatic-speech-recognition', await moonshineTiny(), ort);
for (const file of files) {
  const start = performance.now();
  const { text } = await transcribe(file);
  console.log(`${file}: ${text}   (${((performance.now() - start) / 1000).toFixed(2)} s)`);
}
await transcribe.dispose();
