// Shared by the tests of bad input: a valid config to modify, and checks of errors.
import { expect } from 'vitest';
import { type AnyModule, type CompileOptions, compile, inputsOf, type OnnxformersError, targets, zoo } from './index';

export type Kind = abstract new (...args: never[]) => OnnxformersError;
export type Parts = Partial<Record<'path' | 'problem' | 'expected' | 'got' | 'hint', string | RegExp>>;

/** Checks that f throws an error of the class with these parts, and that its message contains all of them. */
export async function fails(f: () => unknown, kind: Kind, parts: Parts): Promise<void> {
  const error = await Promise.resolve()
    .then(f)
    .then(
      () => expect.unreachable('nothing was thrown'),
      (e: unknown) => e as OnnxformersError,
    );
  expect(error, String((error as Error).stack)).toBeInstanceOf(kind);
  for (const [name, wanted] of Object.entries(parts)) {
    const part = error[name as keyof Parts];
    if (typeof wanted === 'string') expect(part, name).toBe(wanted);
    else expect(part, name).toMatch(wanted);
    expect(error.message).toContain(part);
  }
}

export const layer = { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp', norm: 'layer_norm' };
export type Json = Record<string, unknown>;
/** A language model with a modification: `at` is the dotted path of the part. */
export function lm(patch: Json = {}, at = ''): Json {
  const config: Json = {
    name: 'causal_lm',
    dim: 12,
    vocabSize: 23,
    embedding: 'token',
    stack: { name: 'stack', depth: 2, layers: structuredClone(layer), norm: 'layer_norm' },
  };
  const part = at ? at.split('.').reduce((c, key) => c[key] as Json, config) : config;
  Object.assign(part, patch);
  return config;
}
export const build = (config: unknown, kind = 'model'): AnyModule => zoo.parse(kind as 'model', config) as unknown as AnyModule;
export const compiled = (m: AnyModule, o: Partial<CompileOptions> = {}) =>
  compile(m, { target: targets.cpu, inputs: o.inputs ?? inputsOf(m), ...o });
