// Embeds sentences with the Universal Sentence Encoder (lite), rebuilt from blocks, and prints how similar they are.
import { writeFile } from 'node:fs/promises';
import { FileError, OnnxformersError } from '@onnxformers/core';
import { drawGraph } from 'onnxformers';
import { buildEncoder } from './build';
import { compare } from './demo';
import { reportPage } from './html';
import { parseOptions, usage } from './options';
import { reportText, terminalOf } from './table';

async function writePage(path: string, page: string): Promise<void> {
  await writeFile(path, page).catch((cause: Error) => {
    throw new FileError(
      { path, problem: 'cannot be written', got: cause.message, hint: 'Give --html a file in a folder that exists' },
      { cause },
    );
  });
}

/** Shows the current step: in one line of a terminal, otherwise each kind of step in a line of its own. */
function stepsOn(stream: NodeJS.WriteStream) {
  let last = '';
  return {
    show(what: string): void {
      const kind = what.replace(/, \d+ %$/, '');
      if (stream.isTTY) stream.write(`\r\x1b[K${what} …`);
      else if (kind !== last) stream.write(`${kind} …\n`);
      last = kind;
    },
    end(): void {
      if (stream.isTTY) stream.write('\r\x1b[K');
    },
  };
}

async function main(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv);
  if (options.help) {
    process.stdout.write(usage);
    return;
  }
  const steps = stepsOn(process.stderr);
  const { report, picture } = await compare(options, buildEncoder, steps.show).finally(steps.end);
  process.stdout.write(`${reportText(report, terminalOf(process.stdout))}\n`);
  if (options.html !== undefined) {
    await writePage(options.html, reportPage(report, await drawGraph(picture)));
    process.stdout.write(`\nPage: ${options.html}\n`);
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof OnnxformersError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
