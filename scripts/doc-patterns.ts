// The pattern of each block that mixes positions: which values a result depends on, found by changing one position after another.
import { type AnyBlock, dense, type NDArray, tensor } from '../packages/core/src/index';
import { type Example, exampleOf, feedsFor, sizesOf } from '../packages/core/src/testing/example';
import { runBlock } from '../packages/core/src/testing/index';
import { drawMasks, type ShownMask, zoo } from '../packages/onnxformers/src/index';

/** What is changed in the inputs of a kind: its second axis from the end is that of positions. */
const changed: Readonly<Record<string, string>> = { attention: 'v', mixer: 'x' };

/** Which results of the first sequence depend on which positions, row by row, in the first head of an attention mechanism. */
function dependences(example: Example): { readonly seq: number; readonly pairs: readonly boolean[] } {
  const name = changed[example.block.kind]!;
  const sizes = sizesOf(example, 17);
  const feeds = feedsFor(example.inputs, sizes);
  const one = feeds[name]!;
  const seq = one.dims.at(-2)!;
  // The first sequence of the batch is as it is; in each of the others one position is another.
  const repeated = (x: NDArray): NDArray => {
    const size = x.data.length / x.dims[0]!;
    const data = new Float64Array(size * (seq + 1));
    for (let b = 0; b <= seq; b++) data.set(x.data.subarray(0, size), b * size);
    return { ...x, dims: x.dims.with(0, seq + 1), data };
  };
  const all = Object.fromEntries(Object.entries(feeds).map(([key, x]) => [key, repeated(x)]));
  const width = one.dims.at(-1)!;
  const x = all[name]!;
  const size = x.data.length / (seq + 1);
  for (let j = 0; j < seq; j++)
    for (let at = j * width; at < size; at += seq * width)
      for (let c = 0; c < width; c++) x.data[(j + 1) * size + at + c]! += 1 + c;
  const { y } = runBlock(example.module, all).outputs;
  const [rows, channels] = [y!.data.length / (seq + 1), y!.dims.at(-1)!];
  const differs = (j: number, i: number): boolean =>
    Array.from({ length: channels }, (_, c) => i * channels + c).some(
      (at) => Math.abs(y!.data[(j + 1) * rows + at]! - y!.data[at]!) > 1e-12,
    );
  return { seq, pairs: Array.from({ length: seq * seq }, (_, at) => differs(at % seq, Math.floor(at / seq))) };
}

/** What a picture calls an example: its options, if they are short. */
function titleOf({ given, index }: Example): string {
  const { name: _, ...options } = given;
  const text = Object.entries(options)
    .map(([key, value]) => `${key} ${JSON.stringify(value)}`)
    .join(', ');
  return text.length <= 28 ? text : `example ${index + 1}`;
}

const mostShown = 3;
const legend = 'rows: results · columns: positions';

/** The patterns of a block's examples that differ from each other and leave some pairs out; none for a block that mixes all positions, or none. */
export function patternsOf(block: AnyBlock): readonly ShownMask[] {
  if (!(block.kind in changed)) return [];
  const known = new Set<string>();
  return block.definition.examples
    .flatMap((options: Readonly<Record<string, unknown>>, index: number): readonly ShownMask[] => {
      // What the original library does is no pattern of the mechanism, and a draw has none of its own.
      if ('compat' in options || options.redraw) return [];
      const example = exampleOf(block, index, zoo);
      const { seq, pairs } = dependences(example);
      const text = `${seq} ${pairs.map(Number).join('')}`;
      if (known.has(text) || !pairs.includes(false)) return [];
      known.add(text);
      const mask = dense(tensor('bool', [1, 1, seq, seq], pairs.map(Number)));
      return [{ title: titleOf(example), code: `${seq} positions`, mask, seq }];
    })
    .slice(0, mostShown);
}

/** The path of a block's picture, relative to `docs`. */
export const patternPath = ({ kind, blockName }: AnyBlock): string => `pictures/blocks/${kind}-${blockName}.svg`;

/** Path → SVG, for every block that has a pattern. */
export const patternPictures = (): readonly (readonly [path: string, text: string])[] =>
  zoo.blocks.flatMap((block) => {
    const shown = patternsOf(block as AnyBlock);
    if (!shown.length) return [];
    const title = `${block.blockName}: which position (column) a result (row) depends on`;
    return [[`docs/${patternPath(block as AnyBlock)}`, `${drawMasks(shown, { title, legend }).trim()}\n`] as const];
  });
