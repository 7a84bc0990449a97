// The largest value of a size that limits leave.
import { expect, it } from 'vitest';
import { GraphBuilder } from '../ops/vocabulary';
import { limitPackedLengths } from '../sequence/limits';
import { tokenPlaces } from '../sequence/token-places';
import { mostOf } from './known-sizes';

const g = new GraphBuilder();
g.input('x', 'float32', ['batch', 'seq', 5]);
g.limit({ size: 'seq + 2', max: 19, problem: 'too long' });
g.limit({ size: 'seq', max: 23, problem: 'too long' });
g.limit({ size: 'batch*seq', max: 100, problem: 'too many' });
const lengths = g.input('lengths', 'int64', ['sequences']);
const places = tokenPlaces(g, { lengths, prefix: 1 });
limitPackedLengths(lengths, 'tokens');

it.each([
  [7, 7],
  ['seq', 17],
  ['seq + 1', 18],
  ['3*seq*seq', 867],
  ['batch', undefined],
  ['batch*seq', 100],
  ['batch*seq + 3', 103],
  ['-seq + 30', undefined],
  [places.dims[1]!, undefined],
] as const)('%s', (size, most) => expect(mostOf(size, g)).toBe(most));

it('of the longest packed sequence, with its prefix tokens', () => {
  g.limit({ input: 'lengths', min: 0, max: 11, problem: 'too long' });
  expect(mostOf(places.dims[1]!, g)).toBe(12);
});
