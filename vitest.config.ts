import { readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const source = '@onnxformers/source';

export default defineConfig({
  ssr: { resolve: { conditions: [source, 'module', 'node', 'import', 'default'] } },
  test: {
    projects: readdirSync(new URL('./packages', import.meta.url)).map((name) => ({
      extends: true as const,
      root: `./packages/${name}`,
      test: { name, environment: 'node', include: ['src/**/*.test.ts'], testTimeout: 60_000 },
    })),
    coverage: { provider: 'v8', include: ['packages/*/src/**'], reporter: ['text', 'lcov'] },
  },
});
