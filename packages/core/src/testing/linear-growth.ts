// Linear cost, read from graphs: no clock, and no run.
import { compile } from '../compile/compile';
import type { InputType } from '../compile/compile-options';
import type { Dim } from '../dim/dim';
import { footprint } from '../explain/footprint';
import type { Target } from '../lower/target';
import { targets } from '../targets/index';
import { type Example, sizesOf } from './example';

/** Lengths: just above where memory must be linear, and two of which one is twice the other. Primes, so that no division is exact. */
const [above, short] = [2053, 8209];
/** A few values that do not depend on the length, and divisions rounded up, may make less or more than a factor of 2. */
const most = 2.2;

const everyTarget: readonly Target[] = [targets.portable(), targets.cpu, targets.wasm, targets.cuda, targets.webgpu];

/**
 * Checks that memory and operations of a block grow linearly with the number of positions, on every target: above 2,048 positions no value has a number of elements in which
 * `seq` has a power above 1, and at twice as many positions the largest value and the operations are at most 2.2 times as many. An option `seqLen` is set to the
 * length, other numbers stay, and an option `grid`, if it is set, to an image of as many points.
 *
 * @throws Error that says the target, and what grows faster
 */
export function checkLinearGrowth(e: Example): void {
  for (const target of everyTarget) {
    const at = (seq: number) => footprintAt(e, seq, target);
    const [first, one, two] = [at(above), at(short), at(2 * short)];
    for (const { degrees, largest } of [first, one, two])
      if ((degrees.seq ?? 0) > 1)
        fail(target, `a value grows with seq to the power of ${degrees.seq}; the largest has ${largest.count} elements`);
    if (two.largest.at > most * one.largest.at)
      fail(
        target,
        `of ${short} and of ${2 * short} positions the largest values have ${one.largest.at} and ${two.largest.at} elements`,
      );
    if (two.flops > most * one.flops)
      fail(target, `of ${short} and of ${2 * short} positions it takes ${one.flops} and ${two.flops} operations`);
  }
}

function fail({ name }: Target, what: string): never {
  throw new Error(`linear: on ${name} ${what}`);
}

function footprintAt(e: Example, seq: number, target: Target) {
  const onGrid = 'grid' in e.given;
  // Numbers that by default depend on seqLen stay as they are.
  const numbers = Object.fromEntries(Object.entries(e.config).filter(([, value]) => typeof value === 'number'));
  const longer = e.changed({
    ...numbers,
    ...(Number.isFinite(e.longest) && { seqLen: seq }),
    // Of a known image the number of positions is known too.
    ...(onGrid && { grid: [1, seq] }),
  });
  const sized = (d: Dim): Dim => (onGrid && d === 'seq' ? seq : d);
  const inputs = Object.fromEntries(
    Object.entries(longer.inputs).map(([name, { dtype, dims }]): [string, InputType] => [name, [dtype, dims.map(sized)]]),
  );
  const { graph } = compile(longer.module, { target, inputs });
  return footprint(graph, { ...sizesOf(longer), seq }, { target });
}
