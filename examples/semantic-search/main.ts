// npm start -- index FOLDER --model HF_FOLDER --out INDEX
// npm start -- search INDEX "query"
import { parseArgs } from 'node:util';
import { OnnxformersError } from '@onnxformers/core';
import { find, index } from './commands';

const usage = `Searches text files by meaning.

  npm start -- index FOLDER --model HF_FOLDER --out INDEX [--pooling mean|first|last]
  npm start -- search INDEX "query" [--top 5]

HF_FOLDER is a sentence encoder: config.json, model.safetensors, tokenizer.json. --pooling is for checkpoints without 1_Pooling/config.json.
`;

const poolings = ['mean', 'first', 'last'] as const;

/** Runs a command; false if it is not one. */
async function run(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: { type: 'string' },
      out: { type: 'string' },
      pooling: { type: 'string' },
      top: { type: 'string', default: '5' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [command, from, query] = positionals;
  const pooling = poolings.find((each) => each === values.pooling);
  const top = Number(values.top);
  if (values.help || from === undefined || (values.pooling !== undefined && !pooling)) return false;
  if (command === 'index' && values.model !== undefined && values.out !== undefined) {
    const report = (line: string): void => console.error(line);
    console.log(await index(from, { model: values.model, out: values.out, report, ...(pooling && { pooling }) }));
    return true;
  }
  if (command === 'search' && query !== undefined && Number.isSafeInteger(top) && top > 0) {
    for (const { score, file, line, text } of await find(from, query, top))
      console.log(`${score.toFixed(3)}  ${file}:${line}  ${text.length > 160 ? `${text.slice(0, 159)}…` : text}`);
    return true;
  }
  return false;
}

try {
  if (!(await run())) {
    console.error(usage);
    process.exitCode = 2;
  }
} catch (error) {
  const ofArguments = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  if (!(error instanceof OnnxformersError) && !ofArguments) throw error;
  console.error((error as Error).message);
  process.exitCode = ofArguments ? 2 : 1;
}
