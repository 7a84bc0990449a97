// Finds the command, runs it, and converts errors to messages and exit codes.
import { OnnxformersError } from '@onnxformers/core';
import { type Command, helpOf, hintFor, parse, UsageError } from './command';
import { bench } from './commands/bench';
import { build } from './commands/build';
import { explain } from './commands/explain';
import { graph } from './commands/graph';
import { info } from './commands/info';
import { inspect } from './commands/inspect';
import { run } from './commands/run';
import { schema } from './commands/schema';
import { summary } from './commands/summary';
import { Interrupted } from './interrupt';
import { columns, type Output, outputOn, type Stream } from './output';
import { ownVersion } from './versions';

/** Every command, in the order of the help. */
export const commands: readonly Command[] = [info, build, explain, graph, summary, inspect, run, schema, bench];

/** Exit codes of commands. */
export const exitCodes = { done: 0, error: 1, usage: 2, internal: 70 } as const;

/** Runs a command line; returns its exit code. */
export async function start(args: readonly string[], out: Stream, err: Stream): Promise<number> {
  const [name, ...rest] = args;
  const json = args.includes('--json');
  const output = outputOn(out, err, json);
  try {
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') out.write(`${await help(rest)}\n`);
    else if (name === '--version' || name === '-v') out.write(`${ownVersion()}\n`);
    else await runCommand(find(name), rest, output, out);
    return exitCodes.done;
  } catch (error) {
    output.clear();
    return report(error, out, err, { json, debug: args.includes('--debug'), name });
  } finally {
    output.clear();
  }
}

async function runCommand(command: Command, args: readonly string[], output: Output, out: Stream): Promise<void> {
  if (args.includes('--help') || args.includes('-h')) {
    out.write(`${helpOf(command)}\n`);
    return;
  }
  const { words, values } = parse(command, args);
  await command.run(words, values, output);
}

function find(name: string): Command {
  const found = commands.find((c) => c.name === name);
  const names = commands.map((c) => c.name);
  if (name.startsWith('-'))
    throw new UsageError(`the command comes before options such as ${name}. Commands: ${names.join(', ')}`);
  if (!found) throw new UsageError(`there is no command "${name}"${hintFor(name, names) || '.'} Commands: ${names.join(', ')}`);
  return found;
}

async function help([name]: readonly string[]): Promise<string> {
  if (name !== undefined && !name.startsWith('-')) return helpOf(find(name));
  const rows = commands.map((c) => [[c.name, ...c.words].join(' '), c.summary]);
  return [
    `onnxformers ${ownVersion()}: transformer blocks composed from configs, compiled to ONNX`,
    '',
    columns(rows),
    '',
    'Every command takes --json, --debug and --help.',
    `Exit codes: ${exitCodes.done} done, ${exitCodes.error} an error in the input, ${exitCodes.usage} a wrong command line, ${exitCodes.internal} an internal error of onnxformers, 128 + N ended by signal N.`,
  ].join('\n');
}

interface Manner {
  readonly json: boolean;
  readonly debug: boolean;
  readonly name: string | undefined;
}

function report(error: unknown, out: Stream, err: Stream, { json, debug, name }: Manner): number {
  const given = error instanceof Error ? error : new Error(String(error));
  const code = codeOf(given);
  const { path, problem, expected, got, hint } = given as Partial<OnnxformersError>;
  // With --json, standard output contains JSON even for an error.
  if (json)
    out.write(
      `${JSON.stringify({ error: { name: given.name, message: given.message, path, problem, expected, got, hint }, exitCode: code })}\n`,
    );
  else err.write(`${words(given, code, name)}\n`);
  if (debug) err.write(`${given.stack}\n`);
  return code;
}

function codeOf(error: Error): number {
  if (error instanceof Interrupted) return error.exitCode;
  if (error instanceof UsageError) return exitCodes.usage;
  return error instanceof OnnxformersError ? exitCodes.error : exitCodes.internal;
}

function words({ name, message }: Error, code: number, command: string | undefined): string {
  if (code === exitCodes.usage)
    return `${message}\nonnxformers ${command && commands.some((c) => c.name === command) ? `${command} ` : ''}--help shows its options.`;
  if (code === exitCodes.internal)
    return `Internal error of onnxformers: ${message}\nRun it again with --debug and report what it prints.`;
  return `${name}: ${message}`;
}
