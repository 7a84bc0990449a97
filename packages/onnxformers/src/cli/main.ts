#!/usr/bin/env node
// The command line: onnxformers COMMAND …
import { start } from './start';

start(process.argv.slice(2), process.stdout, process.stderr).then((code) => {
  process.exitCode = code;
});
