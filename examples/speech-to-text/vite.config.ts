import { fileURLToPath } from 'node:url';
import { defaultClientConditions, defineConfig } from 'vite';
import { serveModel } from '../interpretability/serve-model';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here('page'),
  // A file that is not there is an answer with status 404, not the page.
  appType: 'mpa',
  build: { outDir: here('dist'), emptyOutDir: true, target: 'es2022' },
  // The library's sources; a page outside of this workspace needs no such line.
  resolve: { conditions: ['@onnxformers/source', ...defaultClientConditions] },
  // Bundled in advance, the runtime would not find its WebAssembly.
  optimizeDeps: { exclude: ['onnxruntime-web'] },
  server: { fs: { allow: [here('../..')] } },
  plugins: [serveModel(process.env.MODEL ?? here('model'))],
});
