// Kernels differ between versions of a runtime: which table a machine has, and on which versions a graph runs.
import { ConfigError } from '../error';
import { type Graph, type Node, subgraphsOf } from '../ir/graph';
import { accepts, type Machine, type Target } from './target';

/**
 * The target for the machine's version of the runtime: the newest table that is not newer than it. Without a version, the target itself.
 *
 * Throws   ConfigError for a version that is older than every table
 */
export function onRuntime(target: Target, { runtime }: Machine): Target {
  if (runtime === undefined || target.runtime === undefined) return target;
  const versions = [target, ...(target.older ?? [])];
  const found = versions.find((t) => compareVersions(t.runtime!, runtime) <= 0);
  if (found) return found;
  throw new ConfigError({
    path: 'machine.runtime',
    problem: `the kernels of ${target.name} on this version are not known`,
    expected: `${versions.at(-1)!.runtime} or newer`,
    got: runtime,
  });
}

/** What a version of the runtime lacks for a graph. */
export interface RuntimeSupport {
  readonly runtime: string;
  /** As texts, each once: `com.microsoft.LinearAttention has no bfloat16 kernel on cuda`. Empty if it runs. */
  readonly lacks: readonly string[];
}

/** Which of the known versions of the runtime can run a graph, newest first; empty for targets without versions. */
export function runtimeSupport(target: Target, machine: Machine, graph: Graph): readonly RuntimeSupport[] {
  const nodes = nodesIn(graph);
  return [target, ...(target.older ?? [])].flatMap((t): RuntimeSupport[] => {
    if (t.runtime === undefined) return [];
    const fits = nodes.map((node) => accepts(t, machine, node)).filter((fit) => fit !== true);
    return [{ runtime: t.runtime, lacks: [...new Set(fits.map(({ text }) => text))] }];
  });
}

/** Kernels that a version lacks, according to the newest table that is not newer than it. */
export const lackedBy = (runtime: string, support: readonly RuntimeSupport[]): readonly string[] =>
  (support.find((s) => compareVersions(s.runtime, runtime) <= 0) ?? support.at(-1))?.lacks ?? [];

const nodesIn = (graph: Graph): Node[] =>
  graph.nodes.flatMap((node) => [...subgraphsOf(node).flatMap(([, inner]) => nodesIn(inner)), node]);

// Negative if the first is older; only major and minor are compared.
function compareVersions(a: string, b: string): number {
  const [[x = 0, y = 0], [u = 0, v = 0]] = [a, b].map((t) => t.split('.').map(Number)) as [number[], number[]];
  return x - u || y - v;
}
