// Errors for taps that a model does not have.
import { ConfigError, describe, nearest } from '../error';
import type { GraphBuilder } from '../ir/graph';
import { type AnyModule, modulesOf } from '../module/module';

/** Maximum number of paths that are listed. */
const most = 8;

/** The error for a path that cannot be tapped, with the taps that exist. */
export function noTap(path: string, model: AnyModule, { taps }: GraphBuilder): ConfigError {
  const within = /^(?:(.*)\.)?weights$/.exec(path);
  const hint = within
    ? hintOfOffers(path, taps.offered)
    : hintOfPaths(path, [...modulesOf(model).map((m) => m.path), ...taps.offered]);
  if (taps.isDivided(path))
    return new ConfigError({
      path: 'taps',
      problem: within
        ? `"${path}" is not one matrix: the attention there is computed in several steps, or in a branch or a loop`
        : `"${path}" runs in a branch or a loop, which has no outputs of its own`,
      got: describe(path),
      hint,
    });
  const problem = within ? `no attention that has weights ran at "${within[1] ?? ''}"` : `no module called "${path}" ran`;
  return new ConfigError({ path: 'taps', problem, got: describe(path), hint });
}

function hintOfOffers(path: string, offered: readonly string[]): string {
  if (!offered.length) return 'No attention of this model has weights';
  const near = nearest(path, offered);
  const more = offered.length > most ? `, and ${offered.length - most} more` : '';
  return `${near ? `Did you mean "${near}"? ` : ''}Taps of weights: ${offered.slice(0, most).join(', ')}${more}`;
}

function hintOfPaths(path: string, paths: readonly string[]): string {
  const near = nearest(path, paths);
  return near ? `Did you mean "${near}"?` : `Paths look like "${paths[Math.min(1, paths.length - 1)]}"`;
}
