#!/usr/bin/env node
// The command line: onnxformers COMMAND …
import { exitCodes, start } from './start';

// A reader that closes the output early (`head`) is not an error; a full disk is.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`The output cannot be written: ${error.message}\n`);
  process.exitCode = exitCodes.error;
});
process.stderr.on('error', () => undefined);

start(process.argv.slice(2), process.stdout, process.stderr).then((code) => {
  process.exitCode ||= code;
});
