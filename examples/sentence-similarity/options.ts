// The command line of the demo.
import { parseArgs } from 'node:util';
import { ConfigError, describe, nearest } from '@onnxformers/core';
import { type Precision, precisions, type TargetName, targets } from './encoder';
import { builtIn } from './sentences';

export interface Options {
  readonly sentences: readonly string[];
  readonly target: TargetName;
  readonly dtype: Precision;
  /** The file to write the page to. */
  readonly html?: string;
  readonly help: boolean;
}

export const usage = `Compares the meaning of sentences.

  npm run demo -- [SENTENCE …] [--target ${targets.join('|')}] [--dtype ${precisions.join('|')}] [--html FILE]

Without sentences a built-in set is compared. --html also writes a page with the matrix and the graph.
`;

/** Targets that run on a GPU, and what they require. */
const gpus: Readonly<Record<string, string>> = {
  cuda: 'an NVIDIA GPU, and the provider that node scripts/ort-cuda.mjs installs here (see docs/guides/cuda.md)',
  webgpu: 'a GPU with a driver for Vulkan, Metal or Direct3D 12, and nothing else to install',
};

function choice<T extends string>(name: string, value: string, choices: readonly T[]): T {
  const found = choices.find((c) => c === value);
  if (found) return found;
  const onGpu = value.toLowerCase() === 'gpu' ? Object.keys(gpus).filter((c) => choices.includes(c as T)) : [];
  const near = onGpu.length ? onGpu.join(' or ') : nearest(value, choices);
  const needs = onGpu.map((c) => ` ${c} requires ${gpus[c]}.`).join('');
  throw new ConfigError({
    path: `--${name}`,
    problem: 'unknown value',
    expected: choices.join(', '),
    got: describe(value),
    ...(near && { hint: `Did you mean ${near}?${needs}` }),
  });
}

function parsed(argv: readonly string[]) {
  const options = {
    target: { type: 'string' },
    dtype: { type: 'string' },
    html: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  } as const;
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true });
  } catch (cause) {
    const { message } = cause as Error;
    throw new ConfigError(
      { path: 'arguments', problem: message.replace(/\.\s[\s\S]*$/, ''), hint: 'Run with --help for the options' },
      { cause },
    );
  }
}

/**
 * The options in command line arguments.
 *
 * @throws ConfigError for an unknown option, an option without its value, or a value that is not one of the choices.
 */
export function parseOptions(argv: readonly string[]): Options {
  const { values, positionals } = parsed(argv);
  return {
    sentences: positionals.length ? positionals : builtIn,
    target: choice('target', values.target ?? 'cpu', targets),
    dtype: choice('dtype', values.dtype ?? 'float32', precisions),
    ...(values.html !== undefined && { html: values.html }),
    help: values.help ?? false,
  };
}
