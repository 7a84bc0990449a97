// A mixer with a state, call by call, in the float64 interpreter.
import { type AnyModule, compile, interpret, type NDArray, namesOf, targets, toTensor } from '@onnxformers/core';
import { randomParameters } from '@onnxformers/core/testing';

/** Rows `from` to `to` of axis 1. */
export function rowsOf(x: NDArray, from: number, to: number): NDArray {
  const [batch, seq, width] = x.dims as readonly [number, number, number];
  const data = Float64Array.from({ length: batch * (to - from) * width }, (_, i) => {
    const [b, rest] = [Math.floor(i / ((to - from) * width)), i % ((to - from) * width)];
    return x.data[(b * seq + from) * width + rest]!;
  });
  return { ...x, dims: [batch, to - from, width], data };
}

/** What each call of a model reads besides the state. */
export type Call = Readonly<Record<string, NDArray>>;

/** The outputs y of calls one after another, each continuing from the state that the one before it left. */
export function callByCall(m: AnyModule, calls: readonly Call[], dim: number, state: 'io' | { readonly io: number } = 'io') {
  const { byName } = randomParameters(m);
  const declared = {
    x: ['float32', ['batch', 'seq', dim]],
    lengths: ['int64', ['batch']],
    attention_mask: ['bool', ['batch', typeof state === 'string' ? 'past + seq' : state.io]],
  } as const;
  const inputs = Object.fromEntries(Object.entries(declared).filter(([name]) => name in calls[0]!));
  const weights = new Map(Object.entries(byName).map(([name, x]) => [name, toTensor(x)]));
  const model = compile(m, { target: targets.portable(23), inputs, state, weights });
  const { nameOf } = namesOf(m);
  let past: Record<string, NDArray> = {};
  let before = new Float64Array(calls[0]!.x!.dims[0]!);
  return calls.map((call) => {
    const [batch, seq] = call.x!.dims as readonly [number, number];
    const counted = { dtype: 'int64', dims: [batch], data: before } as const;
    const kept = Object.fromEntries(
      model.traced.inputs.flatMap((v) => {
        const leaf = v.leaf as { readonly name: string };
        if (leaf.name === 'past_lengths') return [[leaf.name, counted]];
        if (!leaf.name.startsWith('past_key_values.')) return [];
        const dims = v.dims.map((d) => (d === 'batch' ? batch : d === 'past' ? 0 : (d as number)));
        return [
          [leaf.name, past[leaf.name] ?? { dtype: v.dtype, dims, data: new Float64Array(dims.reduce((a, b) => a * b, 1)) }],
        ];
      }),
    );
    const outputs = interpret(model.traced, { ...call, ...kept }, { parameters: (p) => byName[nameOf.get(p)!]! });
    past = Object.fromEntries(
      Object.entries(outputs).flatMap(([name, x]) =>
        name.startsWith('present.') ? [[name.replace('present.', 'past_key_values.'), x]] : [],
      ),
    );
    before = before.map((n, b) => n + (call.lengths?.data[b] ?? seq));
    return outputs.y!;
  });
}
