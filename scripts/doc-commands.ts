// The command line, as its own help tells it.
import { helpOf } from '../packages/onnxformers/src/cli/command';
import { commands, exitCodes } from '../packages/onnxformers/src/cli/start';

/** The page. */
export function commandsPage(): string {
  return `${[
    '# Command line',
    '',
    'The package `onnxformers` brings a command of its name: `npx onnxformers COMMAND …`. Every command does what a function of the API does, takes',
    `\`--json\`, and ends with ${exitCodes.done} when it is done, ${exitCodes.error} for an error in the input, ${exitCodes.usage} for a wrong command line and ${exitCodes.internal} for a fault of its own. Ended by`,
    'Ctrl-C, it removes what it has written so far. With `--json` standard output holds JSON and nothing else, errors too: `{ "error", "exitCode" }`.',
    'What takes a while says how far it is in one line of standard error that vanishes, on a terminal only. Nothing is coloured.',
    '',
    '<!-- Written by `npm run pages`; not to be edited by hand. -->',
    '',
    '```sh',
    'npx onnxformers build lm.json --target cpu --seed 1 --out lm    # a config → a folder',
    'npx onnxformers explain lm --target cuda --sm 90                 # why it looks as it does',
    'npx onnxformers run lm --inputs ids.safetensors --out logits.safetensors',
    '```',
    '',
    ...commands.flatMap((command) => [`## ${command.name}`, '', '```text', helpOf(command), '```', '']),
  ]
    .join('\n')
    .trimEnd()}\n`;
}
