// A sweep over configs that no example has: the edge values of every field, fields that meet, and what may stand around a block.
import type { AnyBlock } from '../block/block-definition';
import { accepts, type Field } from '../config/fields';
import { randomNumbers } from './random';
import { type SweepCase, type SweepEnd, type SweepPlace, tryCase } from './sweep-outcome';
import { settings } from './sweep-settings';
import { edgeValues } from './sweep-values';

/** What {@link sweep} is run with. */
export interface SweepOptions extends SweepPlace {
  /** Of your test framework. */
  readonly describe: (name: string, f: () => void) => void;
  /** Of your test framework. */
  readonly it: (name: string, f: () => void | Promise<void>) => void;
  /** All registered blocks: each is put into the slots of its kind. Default: the blocks under test. */
  readonly others?: readonly AnyBlock[];
  /** Which cases are drawn. */
  readonly seed: number;
  /** How many cases of each block are tried in full. Every refusal of a single field is tried anyway. */
  readonly cases: number;
}

/**
 * Registers a test for each block: whatever is written into its fields, it is built, compiled and run with the right numbers, or refused with an
 * error that names the field. For each example every edge value of every field is built; of those that are accepted, of pairs and triples of them and of the
 * settings (masks, states, dtypes, sizes) as many as `cases` are drawn, compiled for every target and run on one, and compared with the interpreter.
 *
 * Example  sweep(zoo.blocks, { describe, it, registry: zoo, seed: 1, cases: 10, targets: [targets.cuda], runs: { target: targets.cpu, ort } });
 */
export function sweep(blocks: readonly AnyBlock[], options: SweepOptions): void {
  const { describe, it } = options;
  for (const block of blocks)
    describe(`${block.kind} ${block.blockName}`, () => {
      it('runs with every value of its fields, or says what is wrong', async () => {
        const ends = new Map<SweepEnd, number>();
        const faults: string[] = [];
        for (const one of casesOf(block, options)) {
          try {
            const end = await tryCase(one, options);
            ends.set(end, (ends.get(end) ?? 0) + 1);
          } catch (error) {
            faults.push(`${printCase(one)}: ${(error as Error).message}`);
          }
        }
        if (faults.length) throw new Error(`${faults.length} cases fail:\n${faults.join('\n')}`);
        if (!ends.get('ran')) throw new Error(`no case ran: ${[...ends].join(' · ')}`);
      });
    });
}

type Config = Readonly<Record<string, unknown>>;

/** The cases of a block: all that a single field decides, and some of the others. */
export function casesOf(block: AnyBlock, o: Pick<SweepOptions, 'seed' | 'cases' | 'others'>): readonly SweepCase[] {
  const numbers = randomNumbers(`${o.seed} ${block.kind} ${block.blockName}`);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(numbers() * from.length)]!;
  const bases = block.definition.examples.map((e: object): Config => ({ name: block.blockName, ...e }));
  const fields = Object.entries(block.fields) as readonly (readonly [string, Field])[];
  const valuesOf = (base: Config, [name, field]: readonly [string, Field]) => edgeValues(field, base[name], o.others ?? [block]);
  const changed = (base: Config, changes: readonly (readonly [string, unknown])[], setting = settings[0]!): SweepCase => ({
    block,
    config: Object.fromEntries(Object.entries({ ...base, ...Object.fromEntries(changes) }).filter(([, v]) => v !== undefined)),
    changed: changes.map(([name]) => name),
    setting,
  });
  const singles = bases.flatMap((base) =>
    fields.flatMap((field) =>
      valuesOf(base, field).map((value) => ({ base, field, value, case: changed(base, [[field[0], value]]) })),
    ),
  );
  const refused = singles.filter(({ field: [, f], value }) => value !== undefined && !f.kind && !accepts(f, value));
  const accepted = singles.filter((one) => !refused.includes(one));
  // By turns: an example in a setting, one field alone, several fields of one example with or without a setting.
  const drawn = Array.from({ length: o.cases }, (_, i) => {
    if (accepted.length === 0 || i % 3 === 0) return changed(pick(bases), [], pick(settings));
    if (i % 3 === 1) return pick(accepted).case;
    const { base } = pick(accepted);
    const some = accepted.filter((one) => one.base === base);
    const changes = Array.from({ length: 2 + Math.floor(numbers() * 2) }, () => pick(some));
    return changed(
      base,
      changes.map(({ field: [name], value }) => [name, value] as const),
      numbers() < 0.5 ? pick(settings) : settings[0]!,
    );
  });
  return [...refused.map((one) => one.case), ...drawn];
}

const printCase = ({ config, changed, setting }: SweepCase): string => {
  const shown = (names: readonly string[]) => `{ ${names.map((name) => `${name}: ${printed(config[name])}`).join(', ')} }`;
  const others = Object.keys(config).filter((name) => !changed.includes(name));
  return `${shown([...new Set(changed)])} in ${shown(others)}${setting === settings[0] ? '' : `, ${setting.name}`}`;
};
const printed = (x: unknown): string =>
  typeof x === 'function' ? 'a function' : typeof x === 'number' ? String(x) : (JSON.stringify(x) ?? 'absent');
