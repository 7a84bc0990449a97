// Versions, which are printed with every figure.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { Ort } from '@onnxformers/core';

const here = import.meta.url ?? pathToFileURL(__filename).href; // CommonJS has no import.meta

/** The version of this package. */
export const ownVersion = (): string => JSON.parse(readFileSync(new URL('../../package.json', here), 'utf8')).version;

/** The version of a runtime. */
export function runtimeVersion({ env, listSupportedBackends }: Ort): string {
  const { node, web, common } = env?.versions ?? {};
  return (listSupportedBackends ? node : web) ?? common ?? 'unknown';
}
