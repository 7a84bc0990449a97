import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = '@onnxformers/source';

const seed = fileURLToPath(new URL('./scripts/vitest-seed.ts', import.meta.url));

const project = (root: string, name: string, include: string) => ({
  extends: true as const,
  root,
  test: { name, environment: 'node' as const, include: [include], testTimeout: 180_000, setupFiles: [seed] },
});

const projects = (folder: string, include: string) =>
  readdirSync(new URL(`./${folder}`, import.meta.url), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
    .map(({ name }) => project(`./${folder}/${name}`, name, include));

export default defineConfig({
  ssr: { resolve: { conditions: [source, 'module', 'node', 'import', 'default'] } },
  test: {
    // Vitest itself leaves one processor free, which is half of two.
    maxWorkers: availableParallelism(),
    projects: [
      ...projects('packages', 'src/**/*.test.ts'),
      ...projects('examples', '*.test.ts'),
      project('./scripts', 'scripts', '*.test.ts'),
    ],
    reporters: ['default', fileURLToPath(new URL('./scripts/vitest-count.ts', import.meta.url))],
    coverage: { provider: 'v8', include: ['packages/*/src/**'], reporter: ['text', 'lcov'] },
  },
});
