import { defineConfig } from 'tsup';

/** What every library package is built with; `entry` lists its subpaths. */
export const library = (entry: string[]) =>
  defineConfig({
    entry,
    format: ['esm', 'cjs'],
    platform: 'neutral',
    target: 'es2022',
    external: [/^node:/],
    dts: { compilerOptions: { ignoreDeprecations: '6.0' } }, // tsup 8 sets baseUrl, which TypeScript 6 reports as an error
    sourcemap: true,
    clean: true,
    treeshake: true,
  });
