// Sizes of 0 that kernels do not support.
import { addDims } from '../dim/dim';
import { operandOf } from '../ir/define-op';
import type { Node } from '../ir/graph';
import type { Kernel, NonEmpty, NonEmptySize } from '../lower/target';

const batchOf = ({ operands: [first] }: Node): NonEmptySize => ({ size: first!.dims[0]!, problem: 'no sequences' });
const queriesOf = ({ operands: [query] }: Node): NonEmptySize => ({ size: query!.dims.at(-2)!, problem: 'no queries' });

// The standard's Attention counts the keys of a past too.
function keysOf(node: Node): NonEmptySize {
  const [key, past] = [operandOf(node, 'k')!, operandOf(node, 'pastKey')];
  return { size: past ? addDims(past.dims[2]!, key.dims.at(-2)!) : key.dims.at(-2)!, problem: 'no keys to attend to' };
}

/** The standard's Attention on the CPU, as observed on 1.30: an error for any size of 0. */
export const standardNonEmpty: NonEmpty = {
  sizes: (node) => [batchOf(node), queriesOf(node), keysOf(node)],
  otherwise: 'branch',
};
/** GroupQueryAttention on the CPU, as observed on 1.30: an error without queries, a division by 0 without sequences. */
export const groupedNonEmpty: NonEmpty = { sizes: (node) => [batchOf(node), queriesOf(node)], otherwise: 'branch' };

/** Kernels of GPUs were not observed with sizes of 0, and a branch on sizes would keep a graph from being captured. */
export const sequencesOnly: NonEmpty = { sizes: (node) => [batchOf(node)], otherwise: 'refused' };
/** The same for the standard's Attention, which needs keys as well. */
export const sequencesAndKeys: NonEmpty = { sizes: (node) => [batchOf(node), keysOf(node)], otherwise: 'refused' };

// A product of one matrix with a stack of none: the left operand cannot be repeated.
const stackOf = ({ operands: [left, right] }: Node): NonEmptySize[] =>
  right!.dims
    .slice(0, -2)
    .filter((size, i, all) => left!.dims.at(i - all.length - 2) !== size)
    .map((size) => ({ size, problem: 'no matrices' }));
// A sum of no terms is not 0 but what was in the memory, if the right operand has more axes than the left one, or if an operand of more than two axes is
// transposed: the runtime then makes both nodes one, and also moves a Transpose there past other nodes. In WebAssembly that node divides by the rows too.
const termsOf = ({ operands: [left, right] }: Node): NonEmptySize[] => {
  if (Math.max(left!.rank, right!.rank) <= 2) return [];
  const terms = { size: left!.dims.at(-1)!, problem: 'nothing to sum' };
  const isMoved = left!.producer?.op.key === 'Transpose' && left!.rank > 2;
  return isMoved ? [terms, { size: left!.dims.at(-2)!, problem: 'no rows' }] : [terms];
};
const windowsOf = ({ outputs: [y] }: Node): NonEmptySize[] =>
  y!.dims.slice(2).map((size) => ({ size, problem: 'no place for the window' }));

// A division by 0 that ends the process.
const everySize = ({ operands }: Node): NonEmptySize[] =>
  operands.flatMap((x) => x!.dims.map((size) => ({ size, problem: 'nothing to sum' })));

// The index of an extreme of nothing: an error of the kernel.
const searchedOf = ({ operands: [x], attrs }: Node): NonEmptySize[] => [
  { size: x!.dims[attrs.axis as number]!, problem: 'no elements to choose from' },
];

/** Standard ops that the CPU's kernels refuse with sizes of 0, compute wrongly, or that end the process, as observed on 1.30. */
export const nonEmptyOnCpu: Readonly<Record<string, Partial<Kernel>>> = {
  MatMul: { nonEmpty: { sizes: (node) => [...stackOf(node), ...termsOf(node)], otherwise: 'branch' } },
  Einsum: { nonEmpty: { sizes: everySize, otherwise: 'branch' } },
  ArgMax: { nonEmpty: { sizes: searchedOf, otherwise: 'refused outside of branches' } },
  ArgMin: { nonEmpty: { sizes: searchedOf, otherwise: 'refused outside of branches' } },
  Conv: { nonEmpty: { sizes: windowsOf, otherwise: 'branch' } },
  ConvTranspose: { nonEmpty: { sizes: windowsOf, otherwise: 'branch' } },
  // The runtime replaces it by its definition, in which a Reshape refuses no sequences.
  GroupNormalization: { nonEmpty: { sizes: (node) => [batchOf(node)], otherwise: 'branch' } },
};
