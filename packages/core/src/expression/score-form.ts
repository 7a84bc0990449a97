// Functions of a score in the options of an attention: softcap(scale · score) + bias.
import type { Tree } from './term';

/** `softcap · tanh(scale · score / softcap) + bias`, or `scale · score + bias`. */
export interface ScoreForm<V = unknown> {
  readonly scale: number;
  readonly softcap?: number;
  /** Does not depend on the score. */
  readonly bias?: Tree<V>;
}

/** The form of a function of the score, if it has one. */
export function scoreForm<V>(tree: Tree<V>): ScoreForm<V> | undefined {
  if (tree.op === 'score') return { scale: 1 };
  if (!('of' in tree)) return undefined;
  const [a, b] = tree.of as readonly [Tree<V>, Tree<V>];
  switch (tree.op) {
    case 'neg':
      return times(scoreForm(a), -1);
    case 'tanh': {
      const inside = scoreForm(a);
      return inside && inside.softcap === undefined && !inside.bias ? { ...inside, softcap: 1 } : undefined;
    }
    case 'mul':
      return b.op === 'number' ? times(scoreForm(a), b.value) : a.op === 'number' ? times(scoreForm(b), a.value) : undefined;
    case 'div':
      return b.op === 'number' ? times(scoreForm(a), 1 / b.value) : undefined;
    case 'add':
      return readsScore(b) ? (readsScore(a) ? undefined : plus(scoreForm(b), a)) : plus(scoreForm(a), b);
    case 'sub':
      if (readsScore(b)) return readsScore(a) ? undefined : plus(times(scoreForm(b), -1), a);
      return plus(scoreForm(a), { op: 'neg', type: b.type, of: [b] });
    default:
      return undefined;
  }
}

function times<V>(form: ScoreForm<V> | undefined, by: number): ScoreForm<V> | undefined {
  if (!form || by === 0 || !Number.isFinite(by)) return undefined;
  const factor: Tree<V> = { op: 'number', type: Number.isSafeInteger(by) ? 'int' : 'float', value: by };
  const { scale, softcap, bias } = form;
  return {
    scale: scale * by,
    ...(softcap !== undefined && { softcap: softcap * Math.abs(by) }),
    ...(bias && { bias: { op: 'mul', type: bias.type === 'int' ? factor.type : 'float', of: [bias, factor] } }),
  };
}

function plus<V>(form: ScoreForm<V> | undefined, more: Tree<V>): ScoreForm<V> | undefined {
  if (!form || (more.op === 'number' && more.value === 0)) return form;
  const { bias } = form;
  const type = bias?.type === 'float' ? 'float' : more.type;
  return { ...form, bias: bias ? { op: 'add', type, of: [bias, more] } : more };
}

function readsScore<V>(tree: Tree<V>, seen = new Set<Tree<V>>()): boolean {
  if (seen.has(tree)) return false;
  seen.add(tree);
  return tree.op === 'score' || ('of' in tree && tree.of.some((x) => readsScore(x, seen)));
}
