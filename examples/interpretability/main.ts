// npm start -- HF_FOLDER "a text" --out pictures
import { parseArgs } from 'node:util';
import { OnnxformersError, targets } from '@onnxformers/core';
import { saveText } from '@onnxformers/core/node';
import { filesIn } from '@onnxformers/models/node';
import * as ort from 'onnxruntime-node';
import { numbersOf, openObserver } from './inner-states';
import { attentionPicture, hiddenStatesPicture } from './pictures';

const usage = `Draws attention maps and hidden states of a pretrained model.

  npm start -- HF_FOLDER "a text" [--out FOLDER]

Writes to FOLDER (default: pictures) attention-1.svg, attention-2.svg, … (one for each layer), hidden-states.svg and numbers.json.
`;

async function draw(folder: string, text: string, out: string): Promise<void> {
  const observer = await openObserver(filesIn(folder), ort, targets.cpu);
  const states = await observer.look(text);
  await observer.dispose();
  for (const layer of states.layers.keys()) await saveText(`${out}/attention-${layer + 1}.svg`, attentionPicture(states, layer));
  await saveText(`${out}/hidden-states.svg`, hiddenStatesPicture(states));
  await saveText(`${out}/numbers.json`, JSON.stringify(numbersOf(states)));
  const [heads] = states.layers[0]!.attention.dims;
  console.log(`${states.tokens.length} tokens, ${observer.depth} layers of ${heads} heads: pictures in ${out}`);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: 'string', default: 'pictures' }, help: { type: 'boolean', short: 'h' } },
});
const [folder, text] = positionals;
if (values.help) console.log(usage);
else if (folder === undefined || text === undefined || positionals.length > 2) {
  console.error(usage);
  process.exitCode = 2;
} else {
  try {
    await draw(folder, text, values.out);
  } catch (error) {
    if (!(error instanceof OnnxformersError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
