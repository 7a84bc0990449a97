import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

type Manifest = { exports: Record<string, string | { '@onnxformers/source'?: string }> };

/** The entries that the package.json in the current folder exports: name in dist → source file. */
function exported(): Record<string, string> {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
  const entries = Object.entries(exports).flatMap(([subpath, target]) => {
    const source = typeof target === 'string' ? undefined : target['@onnxformers/source'];
    return source === undefined ? [] : [[subpath === '.' ? 'index' : subpath.slice(2), source]];
  });
  return Object.fromEntries(entries);
}

/** What every library package is built with; `more` names entries that are not exported, such as a command. */
export const library = (more: Readonly<Record<string, string>> = {}) =>
  defineConfig({
    entry: { ...exported(), ...more },
    format: ['esm', 'cjs'],
    splitting: true, // in CommonJS too, or each subpath would hold a copy of its own of what they share
    platform: 'neutral',
    target: 'es2022',
    external: [/^node:/],
    removeNodeProtocol: false, // a bundler then knows what is Node's
    dts: { compilerOptions: { ignoreDeprecations: '6.0' } }, // tsup 8 sets baseUrl, which TypeScript 6 reports as an error
    sourcemap: true,
    clean: true,
    treeshake: true,
  });
