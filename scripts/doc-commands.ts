// The page of the command line, from its help texts.
import { helpOf } from '../packages/onnxformers/src/cli/command';
import { commands, exitCodes } from '../packages/onnxformers/src/cli/start';

/** The page. */
export function commandsPage(): string {
  return `${[
    '# Command line',
    '',
    'The package `onnxformers` contains the command `onnxformers`: `npx onnxformers COMMAND …`. Every command corresponds to a function of the API.',
    'In this workspace, `npm run cli -- COMMAND …` runs it from the sources.',
    `Exit codes are ${exitCodes.done} for success, ${exitCodes.error} for an error in the input, ${exitCodes.usage} for an invalid command line and ${exitCodes.internal} for an internal error.`,
    'With `--json` standard output contains only JSON, for errors too: `{ "error", "exitCode" }`. Ctrl-C removes incomplete files.',
    'On a terminal, long operations show their progress in one line of standard error, which is removed afterwards. The output has no colours.',
    '',
    '<!-- Written by `npm run pages`; not to be edited by hand. -->',
    '',
    '```sh',
    'npx onnxformers build lm.json --target cpu --seed 1 --out lm    # a config → a folder',
    'npx onnxformers explain lm --target cuda --sm 90                 # chosen kernels and reasons',
    'npx onnxformers run lm --inputs ids.safetensors --out logits.safetensors',
    '```',
    '',
    '`lm.json` is a config, for example that of [a language model](../../examples/causal-lm/config.json). `ids.safetensors` contains a tensor for each',
    'input of the model, here `ids` int64 [batch, seq].',
    '',
    ...commands.flatMap((command) => [`## ${command.name}`, '', '```text', helpOf(command), '```', '']),
  ]
    .join('\n')
    .trimEnd()}\n`;
}
