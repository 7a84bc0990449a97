// Translates errors of the runtime to paths of the model.
import { RunError } from '../error';

/** Information about a node of the model, by its name in the file. */
export interface NodeInfo {
  readonly path: string;
  readonly op: string;
  readonly rules: string;
}

/** The message of the runtime, in one line. */
export const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error))
    .replace(/\s*\n\s*/g, ' ')
    .trim()
    .replace(/\.$/, '');

/** The runtime's error with the block path, op and rule of the node that it names. */
export function translate(
  error: unknown,
  doing: string,
  nodes: ReadonlyMap<string, NodeInfo>,
  hint = hintFor(messageOf(error)),
): RunError {
  if (error instanceof RunError) return error;
  const got = messageOf(error);
  const node = nodeIn(got, nodes);
  const origin = node && `It happened in ${node.op}${node.rules ? `, made by ${node.rules}` : ''}`;
  const advice = [origin, hint].filter(Boolean).join('. ');
  return new RunError(
    { path: node ? node.path || 'graph' : 'runtime', problem: `${doing} failed`, got, ...(advice && { hint: advice }) },
    { cause: error },
  );
}

const elsewhere = "device: 'auto' uses the next provider that loads, and reports it";
const hints: readonly (readonly [pattern: RegExp, hint: string])[] = [
  [/bad_alloc|out of memory|failed to allocate/i, 'Out of memory: use smaller feeds, or a dtype with fewer bits'],
  [
    /failed to load (shared )?library|cannot open shared object/i,
    `The provider's library, or a library that it needs, was not found: npx onnxformers info says which, and how to install it; ${elsewhere}`,
  ],
  [/webgpu adapter/i, `There is no GPU that WebGPU can use; ${elsewhere}`],
  [/unsupported data type: 16|tensor\(bfloat16\)/i, 'No JavaScript runtime supports bfloat16 inputs or outputs'],
];
const hintFor = (message: string): string | undefined => hints.find(([pattern]) => pattern.test(message))?.[1];

function nodeIn(message: string, nodes: ReadonlyMap<string, NodeInfo>): NodeInfo | undefined {
  // `Name:'x'`, `node with name 'x'`, `Node (x)`, `in node (x)`
  for (const [, quoted, bracketed] of message.matchAll(/name:?\s*'([^']+)'|node\s*\(([^)\s]+)\)/gi)) {
    const direct = nodes.get(quoted ?? bracketed ?? '');
    if (direct) return direct;
  }
  // A fused node has the name of one of the nodes that it replaces. Names without a path are plain op names, which messages contain anyway. The longest
  // name is tried first, because one name can be a prefix of another.
  const named = [...nodes.keys()]
    .filter((name) => name.includes('/') && message.includes(name))
    .sort((a, b) => b.length - a.length);
  return named[0] === undefined ? undefined : nodes.get(named[0]);
}
