import { readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const source = '@onnxformers/source';

const projects = (folder: string, include: string) =>
  readdirSync(new URL(`./${folder}`, import.meta.url), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
    .map(({ name }) => ({
      extends: true as const,
      root: `./${folder}/${name}`,
      test: { name, environment: 'node' as const, include: [include], testTimeout: 60_000 },
    }));

export default defineConfig({
  ssr: { resolve: { conditions: [source, 'module', 'node', 'import', 'default'] } },
  test: {
    projects: [...projects('packages', 'src/**/*.test.ts'), ...projects('examples', '*.test.ts')],
    coverage: { provider: 'v8', include: ['packages/*/src/**'], reporter: ['text', 'lcov'] },
  },
});
