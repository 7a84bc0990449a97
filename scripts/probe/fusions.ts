// In which dtypes the runtime's own optimisations break a graph or change its numbers.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ShapeError } from '../../packages/core/src/error';
import { type Graph, subgraphsOf } from '../../packages/core/src/ir/graph';
import { lower } from '../../packages/core/src/lower/lower';
import { toBytes } from '../../packages/core/src/onnx/encode';
import { portable } from '../../packages/core/src/targets/portable';
import type { DType } from '../../packages/core/src/tensor/tensor';
import { graphOf, type Pattern, patterns } from './fusion-samples';
import { modelOf } from './models';
import { askInTurn, type Provider } from './placement';

/** Fusions that go wrong, by name: dtypes. */
export type FusionRows = Record<string, string>;

/** What a result may be off by, relative: that of the least precise arithmetic in the graph. */
const tolerances: Partial<Record<DType, number>> = { float64: 1e-12, float32: 1e-5, float16: 5e-3, bfloat16: 5e-2 };
const order: readonly DType[] = ['float64', 'float32', 'float16', 'bfloat16', 'int64', 'int32', 'int8'];

interface Question {
  readonly fusion: string;
  readonly dtype: DType;
  readonly path: string;
  readonly tolerance?: number;
}

async function questions(opsets: readonly number[], compares: boolean, folder: string): Promise<Question[]> {
  const asked: Question[] = [];
  for (const pattern of patterns)
    for (const dtype of pattern.dtypes)
      for (const [opset, behind] of opsets.flatMap((o) => [[o, false] as const, [o, true] as const])) {
        const graph = written(pattern, dtype, opset, behind);
        const model = graph && modelOf(graph, opset);
        if (!model) continue;
        const path = join(folder, `fusion-${asked.length}.onnx`);
        writeFileSync(path, await toBytes(model));
        asked.push({ fusion: pattern.fusion, dtype, path, ...(compares && { tolerance: toleranceOf(graph) }) });
      }
  return asked;
}

// In ops of the standard, with nothing done against fusions.
function written(pattern: Pattern, dtype: DType, opset: number, behind: boolean): Graph | undefined {
  try {
    const { fusions: _, ...plain } = portable(opset >= 23 ? 23 : opset >= 21 ? 21 : 18);
    return lower(graphOf(pattern, dtype, behind), plain).graph;
  } catch (error) {
    if (error instanceof ShapeError) return undefined; // an op that does not have the dtype
    throw error;
  }
}

const toleranceOf = (graph: Graph): number =>
  Math.max(
    0,
    ...graph.nodes.flatMap((n) => [
      ...subgraphsOf(n).map(([, g]) => toleranceOf(g)),
      ...n.outputs.map((v) => tolerances[v.dtype] ?? 0),
    ]),
  );

/** Which fusions break a session that opens without them, or change its results. A provider whose numbers are not real is only asked whether it opens. */
export async function wrongFusions(
  provider: Provider,
  o: { readonly opsets: readonly number[]; readonly compares: boolean },
  folder: string,
): Promise<{ readonly version: string; readonly fusions: FusionRows }> {
  const asked = await questions(o.opsets, o.compares, folder);
  const wrong = new Map<string, Set<DType>>();
  const version = askInTurn('compare-levels.mjs', asked, provider, folder, (said, i) => {
    const { fusion, dtype } = asked[i]!;
    if (!/^@@(breaks|differs)/m.test(said)) return;
    if (!wrong.has(fusion)) wrong.set(fusion, new Set());
    wrong.get(fusion)!.add(dtype);
  });
  const fusions = Object.fromEntries(
    [...wrong].sort().map(([fusion, found]) => [fusion, order.filter((d) => found.has(d)).join(' ')]),
  );
  return { version, fusions };
}

/** Both lists together. */
export function joined(a: FusionRows, b: FusionRows): FusionRows {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  const dtypesOf = (name: string) => new Set(`${a[name] ?? ''} ${b[name] ?? ''}`.split(' '));
  return Object.fromEntries(names.map((name) => [name, order.filter((d) => dtypesOf(name).has(d)).join(' ')]));
}
