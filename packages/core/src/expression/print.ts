// Expressions as text, for `explain` and refusals.
import { binding, functions } from './functions';
import { type Expression, tableName } from './step';

const longest = 200;

/** `k <= q and (q - k) mod 3 < 2`. */
export function printExpression({ steps }: Expression): string {
  const texts: { readonly text: string; readonly binds: number }[] = [];
  for (const step of steps) {
    const operands = 'of' in step ? step.of.map((i) => texts[i]!) : [];
    const [binds, text] = ((): readonly [number, string] => {
      if (step.op === 'number') return [step.value < 0 ? binding.sign : binding.atom, String(step.value)];
      if (step.op === 'lookup') return [binding.atom, `${tableName(step.table)}[${operands.map((x) => x.text).join(', ')}]`];
      if (!('of' in step)) return [binding.atom, step.op];
      const [own, print] = functions[step.op].text;
      // An atom encloses its operands itself. The second operand of a difference needs parentheses of its own.
      const within = operands.map((x, i) =>
        own === binding.atom || x.binds > own || (x.binds === own && i === 0) ? x.text : `(${x.text})`,
      );
      return [own, print(...within)];
    })();
    texts.push({ binds, text: text.length > longest ? `${text.slice(0, longest)} …` : text });
  }
  return texts.at(-1)!.text;
}
