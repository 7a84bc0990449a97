// Inputs that are not read.
import { namesOfDim } from '../dim/dim';
import { ConfigError, nearest } from '../error';
import { type Graph, type InputRole, nameOf, usedBy, type Value } from '../ir/graph';
import { usualNames } from '../sequence/inputs';
import { clearedInput } from '../sequence/padding';

/** Some blocks read only the sizes of sequences, keys and values. */
const mayStayUnread: ReadonlySet<InputRole> = new Set(['data', 'sequence', 'keyValue']);

/**
 * Refuses an input that the model does not use, because the caller would expect an effect: position ids of a model without positions, lengths that
 * no attention reads, `attention_msk`, whose name has no role. Other inputs without a role, and those with the role `data`, may be unused.
 *
 * Throws   ConfigError naming the input
 */
export function checkAllRead({ inputs, outputs, nodes, builder }: Graph, declared: readonly string[]): void {
  const read = new Set<Value>(outputs.map(({ value }) => value));
  // From the end. Flags that only set padded positions to 0 do not count as read.
  for (const node of nodes.toReversed()) {
    if (node.outputs.every((v) => !read.has(v)) && !node.op.writes) continue;
    const used = node.outputs.some(clearedInput) ? node.operands.slice(1) : usedBy(node);
    for (const v of used) if (v) read.add(v);
  }
  for (const v of inputs) if (v.leaf?.kind === 'derived') for (const from of v.leaf.from) read.add(from);
  const own = inputs.filter((v) => {
    const role = builder.roles.get(nameOf(v) ?? '');
    return declared.includes(nameOf(v) ?? '') && (role === undefined ? meantName(v) !== undefined : !mayStayUnread.has(role));
  });
  // Its dims are read if it alone has a size that the model needs.
  const needed = namesIn([...read]);
  const known = namesIn(inputs.filter((v) => read.has(v)));
  const unread = own.find((v) => !read.has(v) && [...namesIn([v])].every((name) => known.has(name) || !needed.has(name)));
  if (unread) {
    const name = nameOf(unread)!;
    const meant = builder.roles.has(name) ? undefined : meantName(unread);
    const near = meant === name ? undefined : meant;
    const state = ofState.has(name) ? 'It belongs to a model with a cache (the option state of compile), which adds it. ' : '';
    throw new ConfigError({
      path: `inputs.${name}`,
      problem: 'the model does not read this input',
      expected: 'inputs that change the result',
      got: String(unread),
      hint: `${state}${near ? `Did you mean "${near}"? ` : ''}Omit it, or declare the role 'data'`,
    });
  }
}

// Short names resemble too many others.
const longNames = usualNames.filter((name) => name.length > 5);
// Names of other libraries, and of inputs that only some models have.
const otherNames: ReadonlyMap<string, string> = new Map([
  ['input_ids', 'ids'],
  ['inputs_embeds', 'x'],
  ['decoder_input_ids', 'decoder_ids'],
  ['decoder_ids', 'decoder_ids'],
  ['past_lengths', 'past_lengths'],
  ['block_table', 'block_table'],
]);
const meantName = (v: Value): string | undefined => otherNames.get(nameOf(v) ?? '') ?? nearest(nameOf(v) ?? '', longNames);
const ofState: ReadonlySet<string> = new Set(['past_lengths', 'block_table']);

const namesIn = (values: readonly Value[]): ReadonlySet<string> =>
  new Set(values.flatMap(({ dims }) => dims.flatMap(namesOfDim)));
