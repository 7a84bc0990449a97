// Graphs of plain ONNX nodes that repeat one step: for times of single kernels. A graph of the library would merge equal nodes.
import { toBytes } from '../../packages/core/src/onnx/encode';
import type { OnnxAttribute, OnnxModel, OnnxNode } from '../../packages/core/src/onnx/model';
import { castTensor, type DType, type Ort, type Tensor, tensor } from '../../packages/onnxformers/src/index';
import { median } from './report';

/** The name of a value. */
export type Name = string;

/** A node; a list of numbers as an input is a constant, int64. */
export interface Node {
  readonly op: string;
  readonly inputs: readonly (Name | readonly number[])[];
  readonly outputs: readonly Name[];
  readonly attributes: Readonly<Record<string, number | readonly number[] | string>>;
}

/** One application of an op, such as `MatMul` or `com.microsoft.MultiHeadAttention`. */
export const call = (op: string, inputs: Node['inputs'], output: Name, attributes: Node['attributes'] = {}): Node => ({
  op,
  inputs,
  outputs: [output],
  attributes,
});

/** A constant by its elements. */
export interface Constant {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly values: readonly number[];
}

/** A graph with an input `shift`, float32 [1], and an output `y`, float32. */
export interface Chain {
  readonly model: OnnxModel;
}

/** Nodes for `name`: [.., dims.at(-1)] of numbers between −1 and 1 that look random, and are the same in every graph. */
export function wave(name: Name, dims: readonly number[], dtype: DType, seed: number): readonly Node[] {
  const width = dims.at(-1)!;
  const rows = dims.slice(0, -1).reduce((a, b) => a * b, 1);
  const ramp = (n: number, times: number, plus: number, axis: Name): readonly Node[] => [
    call('Range', [`zero`, `${name}_${axis}_end`, 'one'], `${name}_${axis}_n`),
    call('Mul', [`${name}_${axis}_n`, `${name}_${axis}_rate`], `${name}_${axis}_scaled`),
    call('Add', [`${name}_${axis}_scaled`, `${name}_${axis}_plus`], `${name}_${axis}_ramp`),
    // Constants of one number.
    ...[
      ['end', n],
      ['rate', times],
      ['plus', plus],
    ].map(([what, value]) => ({
      op: '#',
      inputs: [],
      outputs: [`${name}_${axis}_${what}`],
      attributes: { value: value as number },
    })),
  ];
  return [
    ...ramp(rows, 0.0317, 1.7 * seed, 'rows'),
    ...ramp(width, 0.713, 0.9 * seed, 'columns'),
    call('Unsqueeze', [`${name}_rows_ramp`, [1]], `${name}_tall`),
    call('Add', [`${name}_columns_ramp`, 'shift'], `${name}_moved`),
    call('Mul', [`${name}_tall`, `${name}_moved`], `${name}_products`),
    call('Sin', [`${name}_products`], `${name}_waves`),
    call('Cast', [`${name}_waves`], `${name}_cast`, { to: elementTypes[dtype as 'float16'] }),
    call('Reshape', [`${name}_cast`, dims], name),
  ];
}
const elementTypes = { float32: 1, float16: 10, bfloat16: 16 } as const;

/** The graph of these nodes in any order that is topological but for constants, with the corner of `y` as its output. */
export function chainOf(
  nodes: readonly Node[],
  y: Name,
  dims: readonly number[],
  constants: Readonly<Record<Name, Constant>> = {},
): Chain {
  const initializers = new Map<Name, Tensor>([
    ['zero', tensor('float32', [], [0])],
    ['one', tensor('float32', [], [1])],
  ]);
  for (const [name, { dtype, dims: size, values }] of Object.entries(constants)) {
    const wide = dtype === 'float16' || dtype === 'bfloat16' ? 'float32' : dtype;
    const made = tensor(wide as 'float32', size, values);
    initializers.set(name, wide === dtype ? made : castTensor(made, dtype));
  }
  const input = (x: Name | readonly number[]): Name => {
    if (typeof x === 'string') return x;
    const name = `ints_${x.join('_')}`;
    initializers.set(name, tensor('int64', [x.length], x));
    return name;
  };
  const written: OnnxNode[] = [];
  const all = [
    ...nodes,
    call('Slice', [y, dims.map((d) => Math.max(0, d - 5)), dims, dims.map((_, i) => i)], 'corner'),
    call('Cast', ['corner'], 'y', { to: 1 }),
  ];
  for (const { op, inputs, outputs, attributes } of all) {
    if (op === '#') {
      initializers.set(outputs[0]!, tensor('float32', [], [attributes.value as number]));
      continue;
    }
    if (op === 'pool') {
      const [type, fill] = [attributes.type as number, attributes.fill as number];
      const value = castTensor(tensor('float32', [1], [fill]), (['float32', 'float16', 'bfloat16'] as const)[type]!);
      written.push({
        name: outputs[0]!,
        opType: 'ConstantOfShape',
        domain: '',
        inputs: inputs.map(input),
        outputs,
        attributes: { value: { type: 'tensor', value } },
      });
      continue;
    }
    const dot = op.lastIndexOf('.');
    written.push({
      name: outputs[0]!,
      opType: op.slice(dot + 1),
      domain: op.slice(0, Math.max(0, dot)),
      inputs: inputs.map(input),
      outputs,
      attributes: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, attribute(name, value)])),
    });
  }
  return {
    model: {
      opsets: { '': 24, 'com.microsoft': 1 },
      graph: {
        name: 'chain',
        nodes: written,
        inputs: [{ name: 'shift', dtype: 'float32', dims: [1] }],
        outputs: [{ name: 'y', dtype: 'float32' }],
        initializers: [...initializers]
          .filter(([name]) => written.some(({ inputs }) => inputs.includes(name)))
          .map(([name, data]) => ({ name, dtype: data.dtype, dims: data.dims, data })),
      },
    },
  };
}

function attribute(name: string, value: number | readonly number[] | string): OnnxAttribute {
  if (typeof value === 'string') return { type: 'string', value };
  if (typeof value !== 'number') return { type: 'ints', value };
  return ['scale', 'softcap', 'mask_filter_value'].includes(name) ? { type: 'float', value } : { type: 'int', value };
}

/** Milliseconds of one copy: the slope between a chain of few copies and one of more. */
export async function slopeOf(
  chain: (copies: number) => Chain,
  ort: Ort,
  device: 'cuda' | 'cpu',
  { few = 2, more = 10, repetitions = 9, warmups = 2 } = {},
): Promise<{ readonly median: number; readonly spread: number; readonly sample: readonly number[] }> {
  const open = async (copies: number) =>
    ort.InferenceSession.create(await toBytes(chain(copies).model), {
      executionProviders: [device],
      graphOptimizationLevel: 'disabled',
    });
  const [short, long] = [await open(few), await open(few + more)];
  const feeds = { shift: new ort.Tensor('float32', Float32Array.of(0.25), [1]) };
  try {
    let sample: readonly number[] = [];
    const time = async (session: typeof short): Promise<number> => {
      const start = performance.now();
      const { y } = await session.run(feeds, ['y']);
      sample = Array.from(y!.data as Float32Array);
      return performance.now() - start;
    };
    for (let i = 0; i < warmups; i++) for (const session of [long, short]) await time(session);
    const ofFew = sample;
    const times: number[] = [];
    for (let i = 0; i < repetitions; i++) {
      const a = await time(short);
      times.push(((await time(long)) - a) / more);
    }
    const sorted = [...times].sort((x, y) => x - y);
    const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))]!;
    return { median: median(times), spread: (at(0.75) - at(0.25)) / 2, sample: ofFew };
  } finally {
    await short.release();
    await long.release();
  }
}
