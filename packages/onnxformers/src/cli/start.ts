// Finds the command, runs it, and converts errors to messages and exit codes.
import { OnnxformersError } from '@onnxformers/core';
import { type Command, helpOf, hintFor, parse, UsageError } from './command';
import { benchAttention } from './commands/bench/attention';
import { benchBlock } from './commands/bench/block';
import { benchCompare } from './commands/bench/compare';
import { benchModel } from './commands/bench/model';
import { benchVarlen } from './commands/bench/varlen';
import { benchZoo } from './commands/bench/zoo';
import { build } from './commands/build';
import { explain } from './commands/explain';
import { graph } from './commands/graph';
import { info } from './commands/info';
import { inspect } from './commands/inspect';
import { pattern } from './commands/pattern';
import { run } from './commands/run';
import { schema } from './commands/schema';
import { summary } from './commands/summary';
import { Interrupted } from './interrupt';
import { columns, type Output, outputOn, type Stream } from './output';
import { ownVersion } from './versions';

/** Every command, in the order of the help. */
export const commands: readonly Command[] = [
  info,
  build,
  explain,
  graph,
  summary,
  inspect,
  pattern,
  run,
  schema,
  benchAttention,
  benchBlock,
  benchModel,
  benchVarlen,
  benchZoo,
  benchCompare,
];

/** Exit codes of commands. */
export const exitCodes = { done: 0, error: 1, usage: 2, internal: 70 } as const;

/** Runs a command line; returns its exit code. */
export async function start(args: readonly string[], out: Stream, err: Stream): Promise<number> {
  const [name] = args;
  const json = args.includes('--json');
  const output = outputOn(out, err, json);
  try {
    if (name === undefined || name === '--help' || name === '-h' || name === 'help') out.write(`${help(args.slice(1))}\n`);
    else if (name === '--version' || name === '-v') out.write(`${ownVersion()}\n`);
    else if (asksForHelp(args)) out.write(`${help(args)}\n`);
    else await runCommand(find(args), output);
    return exitCodes.done;
  } catch (error) {
    output.clear();
    return report(error, out, err, { json, debug: args.includes('--debug'), name: named(args)?.command.name });
  } finally {
    output.clear();
  }
}

async function runCommand({ command, rest }: Found, output: Output): Promise<void> {
  const { words, values } = parse(command, rest);
  await command.run(words, values, output);
}

const asksForHelp = (args: readonly string[]): boolean => args.includes('--help') || args.includes('-h');

/** A command, and what follows its name. */
interface Found {
  readonly command: Command;
  readonly rest: readonly string[];
}

/** The command that the first words name; some names have two words. */
function named(args: readonly string[]): Found | undefined {
  for (const words of [2, 1]) {
    const command = commands.find((c) => c.name === args.slice(0, words).join(' '));
    if (command) return { command, rest: args.slice(words) };
  }
  return undefined;
}

/** The commands whose names begin with a word: `bench attention`, `bench block`, … */
const family = (word: string): readonly Command[] => commands.filter((c) => c.name.startsWith(`${word} `));

function find(args: readonly string[]): Found {
  const found = named(args);
  if (found) return found;
  const [first, second] = args as readonly [string, string?];
  const names = commands.map((c) => c.name);
  if (first.startsWith('-'))
    throw new UsageError(`the command comes before options such as ${first}. Commands: ${names.join(', ')}`);
  const members = family(first).map((c) => c.name);
  const name = members.length && second !== undefined ? `${first} ${second}` : first;
  const known = members.length ? members : names;
  throw new UsageError(`there is no command "${name}"${hintFor(name, known) || '.'} Commands: ${known.join(', ')}`);
}

function help(args: readonly string[]): string {
  const words = args.filter((arg) => !arg.startsWith('-'));
  const [name] = words;
  const members = name === undefined ? commands : family(name);
  if (name !== undefined && (!members.length || named(words))) return helpOf(find(words).command);
  if (words.length > 1) find(words);
  return [
    `onnxformers ${ownVersion()}: transformer blocks composed from configs, compiled to ONNX`,
    '',
    columns(members.map((c) => [[c.name, ...c.words].join(' '), c.summary])),
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
  if (code === exitCodes.usage) return `${message}\nonnxformers ${command ? `${command} ` : ''}--help shows its options.`;
  if (code === exitCodes.internal)
    return `Internal error of onnxformers: ${message}\nRun it again with --debug and report what it prints.`;
  return `${name}: ${message}`;
}
