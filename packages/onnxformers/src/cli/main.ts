#!/usr/bin/env node
// The command line: onnxformers COMMAND …
import { exitCodes, start } from './start';

// Who reads only the head of the output closes it: no fault. A disk that is full is one.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`The output cannot be written: ${error.message}\n`);
  process.exitCode = exitCodes.error;
});
process.stderr.on('error', () => undefined);

start(process.argv.slice(2), process.stdout, process.stderr).then((code) => {
  process.exitCode ||= code;
});
