// One-node graphs: each op of the vocabulary as its cases apply it, each contrib kernel as its rule emits it, in any dtype.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Attrs, defineOp, domainOf, Identity, type Op, type TensorType } from '../../packages/core/src/ir/define-op';
import { apply, type Graph, type Node, subgraphsOf, type Value } from '../../packages/core/src/ir/graph';
import { GatherBlockQuantized } from '../../packages/core/src/kernels/gather-block-quantized';
import { MatMulNBits } from '../../packages/core/src/kernels/mat-mul-n-bits';
import { dtypeOf } from '../../packages/core/src/lower/dtype-of';
import { cast } from '../../packages/core/src/ops/cast';
import { cond, loop } from '../../packages/core/src/ops/control';
import type { CodeBits } from '../../packages/core/src/ops/quantized';
import { GraphBuilder } from '../../packages/core/src/ops/vocabulary';
import { castTensor } from '../../packages/core/src/tensor/convert';
import { type DType, isFloat } from '../../packages/core/src/tensor/tensor';
import { type OpCase, prepare } from '../../packages/core/src/testing/op-suite';
import { root } from '../pnpm.mjs';

/** An op applied once: `build` gives the graph in which its main dtype is this one, or undefined where the op is not defined for it. */
export interface Sample {
  /** The row of the table: the key of the op, and its form where it has some. */
  readonly row: string;
  build(dtype: DType): Graph | undefined;
}

/** The scope of the node in question. */
export const probed = 'probed';

// What sessions cannot be fed is cast inside.
const carried: Partial<Record<DType, DType>> = { bfloat16: 'float32' };

function input(g: GraphBuilder, name: string, { dtype, dims }: TensorType): Value {
  const outside = carried[dtype] ?? dtype;
  return cast(g.input(name, outside, dims), dtype);
}
function output(g: GraphBuilder, name: string, v: Value): void {
  g.output(name, cast(v, carried[v.dtype] ?? v.dtype));
}

// ---- The vocabulary -----------------------------------------------------------------------------------------------------

/** Samples of every op that a case applies, in an order in which the plainest come first. */
export async function vocabularySamples(): Promise<Sample[]> {
  const folder = join(root, 'packages/core/src/ops');
  const nodes = new Map<string, Node>();
  for (const file of readdirSync(folder)
    .filter((f) => f.endsWith('.cases.ts'))
    .sort()) {
    const module = (await import(pathToFileURL(join(folder, file)).href)) as { readonly cases?: readonly OpCase[] };
    // At known sizes first: most samples then need no other node to say how large they are.
    for (const c of module.cases ?? [])
      for (const graph of [atKnownSizes(c), prepare(c).graph])
        for (const node of nodesOf(graph)) if (!nodes.has(signature(node))) nodes.set(signature(node), node);
  }
  return [...nodes.values()].map((node) => ({ row: rowOf(node.op, node.attrs), build: (dtype) => alone(node, dtype) }));
}

function atKnownSizes(c: OpCase): Graph {
  const { feeds } = prepare(c);
  const g = new GraphBuilder();
  const built = c.build(g, ...Object.entries(feeds).map(([name, { dtype, dims }]) => g.input(name, dtype, dims)));
  [built].flat().forEach((v, i) => g.output(`y${i}`, v as Value));
  return g.finish();
}

function nodesOf(graph: Graph): Node[] {
  return graph.nodes.flatMap((node): Node[] => {
    const inside = subgraphsOf(node);
    if (inside.length) return inside.flatMap(([, g]) => nodesOf(g));
    const [domain] = domainOf(node.op.key);
    if (domain === '') return [node];
    // A high-level op has no kernel, but its definition consists of ops that have one.
    const g = new GraphBuilder();
    graph.builder.root.inputs.forEach((v, i) => g.input(`size${i}`, v.dtype, v.dims)); // where sizes are read
    const values = node.operands.map(
      (v, i) => v && (v.leaf?.kind === 'constant' ? g.constant(v.leaf.tensor) : g.input(`x${i}`, v.dtype, v.dims)),
    );
    node.op.decompose!(values, node.attrs, g.ops).forEach((v, i) => g.output(`y${i}`, v));
    return nodesOf(g.finish());
  });
}

/** The row of a table that an op with these attributes has. */
export const rowOf = <A extends Attrs>(op: Op<A>, attrs: A): string => [op.key, ...(op.form ? [op.form(attrs)] : [])].join(' ');

const signature = ({ op, operands, attrs }: Node): string =>
  `${rowOf(op, attrs)} ${operands.map((v) => v && `${v.dtype}${v.rank}${v.leaf?.kind}`)} ${Object.keys(attrs).filter((k) => attrs[k] !== undefined)}`;

function alone(node: Node, dtype: DType): Graph | undefined {
  if (node.op.key === 'Cast') return castAlone(node, dtype);
  const main = dtypeOf(node);
  if (main === undefined) return undefined;
  const every = node.operands.map((v) => v?.dtype === main);
  const first = node.operands.map((_, i) => i === 0);
  for (const which of [every, first]) {
    const graph = substituted(node, main, dtype, which);
    if (graph) return graph;
  }
  return undefined;
}

function substituted(node: Node, main: DType, dtype: DType, which: readonly boolean[]): Graph | undefined {
  const g = new GraphBuilder();
  const operands = node.operands.map((v, i) => {
    if (!v) return v;
    const to = which[i] ? dtype : v.dtype;
    if (v.leaf?.kind === 'constant') return g.constant(to === v.dtype ? v.leaf.tensor : castTensor(v.leaf.tensor, to));
    return input(g, `x${i}`, { dtype: to, dims: v.dims });
  });
  const attrs = Object.fromEntries(Object.entries(node.attrs).map(([name, a]) => [name, a === main ? dtype : a]));
  let types: readonly TensorType[];
  try {
    types = node.op.infer(operands, attrs);
  } catch {
    return undefined; // the op has no such form
  }
  if (dtypeOf({ operands, outputs: types }) !== dtype) return undefined;
  g.at(probed, () => g.emit(node.op, operands, attrs, types)).forEach((v, i) => output(g, `y${i}`, v));
  return g.finish();
}

// To the dtype from another; bfloat16 goes on to one that can leave the graph.
function castAlone(node: Node, dtype: DType): Graph {
  const g = new GraphBuilder();
  const from = isFloat(dtype) ? (dtype === 'float32' ? 'float16' : 'float32') : dtype === 'int32' ? 'uint32' : 'int32';
  output(g, 'y', g.at(probed, () => g.emit(node.op, [g.input('x', from, ['n'])], { to: dtype }, [{ dtype, dims: ['n'] }]))[0]!);
  return g.finish();
}

/** Ops that no case applies: Loop and If around a value of the dtype, and Identity. */
export const controlSamples: readonly Sample[] = [
  {
    row: 'Identity',
    build(dtype) {
      const g = new GraphBuilder();
      const x = input(g, 'x', { dtype, dims: ['n', 3] });
      output(g, 'y', g.at(probed, () => g.emit(Identity, [x], {}, [x]))[0]!);
      return g.finish();
    },
  },
  {
    row: 'Loop',
    build(dtype) {
      const g = new GraphBuilder();
      const x = input(g, 'x', { dtype, dims: ['n', 3] });
      const trips = g.input('trips', 'int64', []);
      const { carried } = g.at(probed, () =>
        loop(g, { trips, count: 'trips', carried: [x], body: (_, v) => ({ carried: [v!] }) }),
      );
      output(g, 'y', carried[0]!);
      return g.finish();
    },
  },
  {
    row: 'If',
    build(dtype) {
      const g = new GraphBuilder();
      const [x, z] = [input(g, 'x', { dtype, dims: ['n', 3] }), input(g, 'z', { dtype, dims: ['n', 3] })];
      const which = g.input('which', 'bool', []);
      output(
        g,
        'y',
        g.at(probed, () =>
          cond(
            which,
            () => [x],
            () => [z],
          ),
        )[0]!,
      );
      return g.finish();
    },
  },
];

// ---- Contrib kernels ----------------------------------------------------------------------------------------------------

type Operand = readonly [dtype: DType | 'T', ...dims: (number | string)[]] | undefined;

/** A kernel called by name; 'T' stands for the dtype that is probed. */
function contrib(
  key: string,
  operands: readonly Operand[],
  outputs: readonly Operand[],
  attrs: Record<string, number | string> = {},
  only?: readonly DType[],
): Sample {
  const kinds = Object.fromEntries(
    Object.entries(attrs).map(
      ([name, a]) => [name, typeof a === 'string' ? 'string' : Number.isInteger(a) ? 'int' : 'float'] as const,
    ),
  );
  return {
    row: key,
    build(dtype) {
      if (only && !only.includes(dtype)) return undefined;
      const type = ([t, ...dims]: NonNullable<Operand>): TensorType => ({ dtype: t === 'T' ? dtype : t, dims });
      const op = defineOp<Attrs>({ key, attributes: kinds, infer: () => outputs.map((o) => type(o!)) });
      const g = new GraphBuilder();
      const values = operands.map((o, i) => o && input(g, `x${i}`, type(o)));
      g.at(probed, () => apply(op, values, attrs)).forEach((v, i) => output(g, `y${i}`, v));
      return g.finish();
    },
  };
}

const floats: readonly DType[] = ['float64', 'float32', 'float16', 'bfloat16'];
const rows = (heads = 4): Operand => ['T', 'batch', 'seq', 16 * heads];
const ms = (name: string): string => `com.microsoft.${name}`;

/** Sizes of blocks of codes that somebody may ask for. */
const blockSizes = [16, 32, 64, 128, 256, 512, 1024] as const;
const blocks = 2;

const matMulNBits = (bits: CodeBits, size: number): Sample => {
  const attrs = { K: blocks * size, N: 8, bits, block_size: size };
  const operands: Operand[] = [
    ['T', 'batch', 'seq', attrs.K],
    ['uint8', 8, blocks, (size * bits) / 8],
    ['T', 8, blocks],
  ];
  return {
    ...contrib(MatMulNBits.key, operands, [['T', 'batch', 'seq', 8]], attrs, floats),
    row: rowOf(MatMulNBits, attrs),
  };
};
const gatherBlockQuantized = (bits: CodeBits, size: number): Sample => {
  const attrs = { gather_axis: 0, quantize_axis: 1, block_size: size, bits };
  const operands: Operand[] = [
    ['uint8', 7, (blocks * size * bits) / 8],
    ['int64', 'batch', 'seq'],
    ['T', 7, blocks],
    ['uint8', 7, (blocks * bits) / 8],
  ];
  return {
    ...contrib(GatherBlockQuantized.key, operands, [['T', 'batch', 'seq', blocks * size]], attrs, floats),
    row: rowOf(GatherBlockQuantized, attrs),
  };
};

export const contribSamples: readonly Sample[] = [
  contrib(ms('MultiHeadAttention'), [rows(), rows(), rows()], [rows()], { num_heads: 4 }, floats),
  contrib(
    ms('GroupQueryAttention'),
    [rows(), rows(2), rows(2), undefined, undefined, ['int32', 'batch'], ['int32']],
    [rows(), ['T', 'batch', 2, 'seq', 16], ['T', 'batch', 2, 'seq', 16]],
    { num_heads: 4, kv_num_heads: 2 },
    floats,
  ),
  contrib(
    ms('RestorePadding'),
    [
      ['T', 'tokens', 64],
      ['int32', 'batch', 'longest'],
    ],
    [['T', 'batch', 'longest', 64]],
    {},
    floats,
  ),
  contrib(
    ms('PackedMultiHeadAttention'),
    [
      ['T', 'tokens', 64],
      ['T', 'tokens', 64],
      ['T', 'tokens', 64],
      undefined,
      ['int32', 'batch', 'longest'],
      ['int32', 'batch_plus_1'],
    ],
    [['T', 'tokens', 64]],
    { num_heads: 4 },
    floats,
  ),
  contrib(
    ms('PagedAttention'),
    [
      ['T', 'tokens', 64],
      ['T', 'tokens', 32],
      ['T', 'tokens', 32],
      ['T', 7, 256, 2, 16],
      ['T', 7, 256, 2, 16],
      ['int32', 'batch_plus_1'],
      ['int32', 'batch'],
      ['int32', 'batch', 'blocks'],
    ],
    [['T', 'tokens', 64]],
    { num_heads: 4, kv_num_heads: 2 },
    floats,
  ),
  contrib(
    ms('RotaryEmbedding'),
    [rows(), ['int64', 'batch', 'seq'], ['T', 32, 8], ['T', 32, 8]],
    [rows()],
    { num_heads: 4 },
    floats,
  ),
  contrib(ms('SkipLayerNormalization'), [rows(), rows(), ['T', 64], ['T', 64]], [rows()], {}, floats),
  contrib(ms('SkipSimplifiedLayerNormalization'), [rows(), rows(), ['T', 64]], [rows()], {}, floats),
  contrib('SimplifiedLayerNormalization', [rows(), ['T', 64]], [rows()], {}, floats),
  contrib(ms('BiasGelu'), [rows(), ['T', 64]], [rows()], {}, floats),
  contrib(ms('FastGelu'), [rows(), ['T', 64]], [rows()], {}, floats),
  contrib(ms('QuickGelu'), [rows()], [rows()], { alpha: 1.5 }, floats),
  contrib(ms('Gelu'), [rows()], [rows()], {}, floats),
  contrib(
    ms('MoE'),
    [['T', 'tokens', 64], ['T', 'tokens', 4], ['T', 4, 64, 64], undefined, ['T', 4, 64, 32]],
    [['T', 'tokens', 64]],
    { k: 2, activation_type: 'swiglu', normalize_routing_weights: 0, swiglu_fusion: 1 },
    floats,
  ),
  contrib(ms('FusedMatMul'), [rows(), ['T', 8, 64]], [['T', 'batch', 'seq', 8]], { transB: 1 }, floats),
  ...blockSizes.flatMap((size) =>
    ([4, 8] as const).flatMap((bits) => [matMulNBits(bits, size), gatherBlockQuantized(bits, size)]),
  ),
  contrib(
    ms('LinearAttention'),
    [rows(), rows(), rows(), ['T', 'batch', 4, 16, 16], ['T', 'batch', 'seq', 4], ['T', 'batch', 'seq', 4]],
    [rows(), ['T', 'batch', 4, 16, 16]],
    { q_num_heads: 4, kv_num_heads: 4, update_rule: 'gated_delta' },
    floats,
  ),
  contrib(
    ms('CausalConvWithState'),
    [['T', 'batch', 8, 'length'], ['T', 8, 1, 4], undefined, ['T', 'batch', 8, 3]],
    [
      ['T', 'batch', 8, 'length'],
      ['T', 'batch', 8, 3],
    ],
    {},
    floats,
  ),
];
