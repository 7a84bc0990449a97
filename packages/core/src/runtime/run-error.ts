// Errors of the runtime, told in the words of the model.
import { RunError } from '../error';

/** What is known of a node of the model, by its name in the file. */
export interface NodeInfo {
  readonly path: string;
  readonly op: string;
  readonly rules: string;
}

/** The runtime's error with the block path, op and rule of the node that it names. */
export function translate(error: unknown, doing: string, nodes: ReadonlyMap<string, NodeInfo>): RunError {
  if (error instanceof RunError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const node = nodeIn(message, nodes);
  const place = node ? node.path || 'graph' : 'runtime';
  const origin = node ? `It happened in ${node.op}${node.rules ? `, made by ${node.rules}` : ''}` : undefined;
  return new RunError({ path: place, problem: `${doing} failed`, got: message.trim(), ...(origin && { hint: origin }) }, { cause: error });
}

function nodeIn(message: string, nodes: ReadonlyMap<string, NodeInfo>): NodeInfo | undefined {
  const quoted = /Name:\s*'([^']+)'|node\s*\(([^)\s]+)\)|Node\s*\(([^)\s]+)\)/.exec(message);
  const direct = quoted && nodes.get(quoted[1] ?? quoted[2] ?? quoted[3] ?? '');
  if (direct) return direct;
  // The longest name first, or a node named like the beginning of another would be blamed.
  const named = [...nodes.keys()].filter((name) => message.includes(name)).sort((a, b) => b.length - a.length);
  return named[0] === undefined ? undefined : nodes.get(named[0]);
}
