// The golden op lists: beside each block, the ops that its examples become, counted, by target.
import type { AnyBlock } from '../packages/core/src/index';
import { docstrings } from './docstrings';
import { keyOf, type LoweredExample, type LoweredOp, loweredExamples, places } from './lowered-ops';

const head = [
  '# The ops that the examples become, counted, by target; * marks ops of ONNX Runtime alone, sm80 and sm90 the GPU.',
  '# Written by `npm run pages`; not to be edited by hand.',
];

const shown = (config: unknown): string => JSON.stringify(config, (_, x) => (typeof x === 'function' ? '(a function)' : x));

/** `*BiasGelu, Add, MatMul 2`. */
function countsOf(ops: readonly LoweredOp[]): string {
  const counts = new Map<string, number>();
  for (const { key } of ops) {
    const name = key.replace(/^com\.microsoft\./, '*');
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => (count > 1 ? `${name} ${count}` : name))
    .join(', ');
}

/** The places of one list: those of a family under its name where they are all there. */
function placesNamed(names: readonly string[]): string {
  const families = [...new Set(places.map(({ family }) => family))];
  return families
    .flatMap((family) => {
      const all = places.filter((at) => at.family === family).map(({ name }) => name);
      const here = all.filter((name) => names.includes(name));
      return here.length === all.length ? [family] : here;
    })
    .join(', ');
}

/** Places with equal lists are one line. */
function linesOf({ ops }: LoweredExample): string {
  const byCounts = new Map<string, string[]>();
  for (const [name, list] of ops) {
    const counts = countsOf(list);
    byCounts.set(counts, [...(byCounts.get(counts) ?? []), name]);
  }
  return [...byCounts].map(([counts, names]) => `  ${placesNamed(names)}: ${counts}`).join('\n');
}

/** Calls of one example with equal lines are one paragraph. */
function paragraphsOf(examples: readonly LoweredExample[]): string[] {
  const byLines = new Map<string, string[]>();
  for (const example of examples) {
    const lines = linesOf(example);
    byLines.set(lines, [...(byLines.get(lines) ?? []), example.call]);
  }
  const [{ config }] = examples as readonly [LoweredExample];
  return [...byLines].map(([lines, calls]) => `${shown(config)} · ${calls.join(', ')}\n${lines}`);
}

function textOf(block: AnyBlock): string {
  const own = loweredExamples().filter((example) => example.block === block);
  const paragraphs = [...new Set(own.map(({ index }) => index))].flatMap((index) =>
    paragraphsOf(own.filter((example) => example.index === index)),
  );
  return `${[head.join('\n'), ...paragraphs].join('\n\n')}\n`;
}

/** Path of each list, relative to the repository → its text. */
export function goldenLists(): ReadonlyMap<string, string> {
  const docs = docstrings();
  const blocks = [...new Set(loweredExamples().map(({ block }) => block))];
  return new Map(
    blocks.map((block) => {
      const doc = docs.get(keyOf(block));
      if (!doc) throw new Error(`${keyOf(block)}: no docstring stands above its definition`);
      return [doc.file.replace(/\.ts$/, '.ops.txt'), textOf(block)];
    }),
  );
}

// ---- What has changed -------------------------------------------------------------------------------------------------

/** `{} · alone` → place → op → count. */
function parsed(text: string): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const found = new Map<string, ReadonlyMap<string, number>>();
  let calls: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [, config, names] = /^(\{.*\}) · (.+)$/.exec(line) ?? [];
    if (config && names) calls = names.split(', ').map((call) => `${config} · ${call}`);
    const [, at, list] = /^ {2}([^:]+): (.*)$/.exec(line) ?? [];
    if (at === undefined) continue;
    const counts = new Map(
      list!
        .split(', ')
        .filter(Boolean)
        .map((entry) => {
          const [op = '', count = '1'] = entry.split(' ');
          return [op, Number(count)] as const;
        }),
    );
    const named = at.split(', ').flatMap((name) => {
      const family = places.filter((p) => p.family === name).map((p) => p.name);
      return family.length ? family : [name];
    });
    for (const call of calls) for (const name of named) found.set(`${call} on ${name}`, counts);
  }
  return found;
}

/** What differs between a list as it is written and as it would be: `{"k":3} · alone on cpu: 2 Transpose more`. */
export function changesOf(written: string, now: string): string[] {
  if (written === now) return [];
  const [before, after] = [parsed(written), parsed(now)];
  const changes = [...new Set([...before.keys(), ...after.keys()])].flatMap((key) => {
    const [old, counts] = [before.get(key), after.get(key)];
    if (!old || !counts) return [`${key}: ${old ? 'no longer there' : 'new'}`];
    const ops = [...new Set([...old.keys(), ...counts.keys()])].flatMap((op) => {
      const more = (counts.get(op) ?? 0) - (old.get(op) ?? 0);
      return more ? [`${Math.abs(more)} ${op} ${more > 0 ? 'more' : 'fewer'}`] : [];
    });
    return ops.length ? [`${key}: ${ops.join(', ')}`] : [];
  });
  return changes.length ? changes : ['the same ops, written in another way'];
}
