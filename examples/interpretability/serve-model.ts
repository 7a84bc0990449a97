// Serves the folder of a checkpoint beside the page, with range requests.
import sirv from 'sirv';
import type { Connect, Plugin } from 'vite';

/** A plugin of Vite's servers: the files of the folder are at `/model/`; others below it are answered with 404. */
export function serveModel(folder: string): Plugin {
  const files = sirv(folder, { dev: true });
  const serve = ({ middlewares }: { readonly middlewares: Connect.Server }): void => {
    middlewares.use('/model', (request, response) => files(request, response));
  };
  return { name: 'serve-model', configureServer: serve, configurePreviewServer: serve };
}
