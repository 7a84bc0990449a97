// Hostile input: what would take minutes, gigabytes or a wrong place in a table gets a clear error at once.
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  compile,
  dim,
  inspect,
  matchWeights,
  module,
  ops,
  parseSafetensors,
  readOnnx,
  targets,
  type Value,
} from '@onnxformers/core';
import { openWeights } from '@onnxformers/core/node';
import { describe, expect, it } from 'vitest';
import { relu, zoo } from './index';

/** What f throws, and that it takes less than some seconds, on a busy machine too. */
function quickly(f: () => unknown, ms = 10_000): string {
  const start = performance.now();
  let message = 'nothing was thrown';
  try {
    f();
  } catch (error) {
    message = `${(error as Error).name}: ${(error as Error).message}`;
  }
  expect(performance.now() - start).toBeLessThan(ms);
  return message;
}

describe('safetensors', () => {
  const headerOf = (json: Uint8Array): Uint8Array => {
    const file = new Uint8Array(8 + json.length);
    new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
    file.set(json, 8);
    return file;
  };
  const text = (json: string) => headerOf(new TextEncoder().encode(json));

  it('with a header of 80 MB is refused before it is read', () => {
    const file = headerOf(new Uint8Array(80_000_000).fill(0x20));
    expect(quickly(() => parseSafetensors(file))).toMatch('the header is too long; expected at most 16777216 bytes');
  });

  it('without metadata may contain null', () => {
    expect(parseSafetensors(text('{"__metadata__":null}')).size).toBe(0);
    expect(() => parseSafetensors(text('{"__metadata__":7}'))).toThrow("the header's __metadata__");
  });

  it('with a tensor too large for an array throws when that is loaded', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'limits-'));
    try {
      const bytes = 12 * 2 ** 30;
      const path = join(folder, 'sparse.safetensors');
      const header = text(`{"w":{"dtype":"F32","shape":[${bytes / 4}],"data_offsets":[0,${bytes}]}}`);
      const handle = openSync(path, 'w');
      writeSync(handle, header);
      closeSync(handle);
      truncateSync(path, header.length + bytes);
      const weights = await openWeights(path);
      await expect(weights.get('w')!.load()).rejects.toThrow(/tensor "w": more bytes than the runtime allows in one array/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('ONNX', () => {
  // Field 7 of a model is its graph, field 1 of a graph a node; lengths as varints of five bytes.
  const varint = (n: number): number[] => [0, 7, 14, 21].map((s) => ((n >> s) & 127) | 128).concat((n >>> 28) & 15);
  const within = (field: number, inner: Uint8Array): Uint8Array =>
    Uint8Array.from([field * 8 + 2, ...varint(inner.length), ...inner]);

  it.each([readOnnx, inspect])('of millions of empty nodes is refused before anything is made of it, %#', (read) => {
    const nodes = new Uint8Array(16_000_000);
    for (let i = 0; i < nodes.length; i += 2) nodes[i] = 0x0a;
    const header = Uint8Array.from([0x3a, ...varint(nodes.length)]);
    const file = new Uint8Array(header.length + nodes.length);
    file.set(header);
    file.set(nodes, header.length);
    expect(quickly(() => read(file))).toMatch('FileError: model: the model has too many parts; expected at most 2000000');
  });

  it('of graphs deep inside each other is refused', () => {
    let graph: Uint8Array = new Uint8Array();
    for (let i = 0; i < 200; i++) graph = within(1, within(5, within(6, graph)));
    expect(quickly(() => readOnnx(within(7, graph)))).toMatch('the graphs are nested too deeply');
  });
});

describe('sizes', () => {
  it('of 20,000 names are refused', () => {
    const text = Array.from({ length: 20_000 }, (_, i) => `n${i}`).join(' + ');
    expect(quickly(() => dim(text))).toMatch('the text of a size is too long; expected at most 10000 characters');
  });
  it('with the maximum number of names are read quickly', () => {
    const names = Array.from({ length: 1_200 }, (_, i) => `n${i}`);
    expect(quickly(() => expect(dim(names.join(' + '))).toBe([...names].sort().join(' + ')))).toBe('nothing was thrown');
  });
});

describe('configs', () => {
  it('with one object in both slots of a block, a hundred times over, are refused', () => {
    let config: Record<string, unknown> = { name: 'causal_lm' };
    for (let i = 0; i < 98; i++) config = { name: 'encoder_decoder', encoder: config, decoder: config };
    expect(quickly(() => zoo.parse('model', config))).toMatch('the config describes more than 100000 blocks');
  });
  it('that use one object in a few places are not', () => {
    const feedforward = { name: 'mlp', hidden: 7 };
    const layer = { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 }, feedforward };
    expect(() => zoo.parse('stack', { name: 'stack', dim: 6, depth: 2, layers: [layer, layer] })).not.toThrow();
  });
});

describe('names and values of another kind', () => {
  const inputs = { x: ['float32', [2, 3]] } as const;

  it('weights that are not tensors are refused', () => {
    for (const wrong of [
      7,
      null,
      'text',
      {},
      { dtype: 'float32' },
      { dtype: 'constructor', dims: [], data: new Float32Array(1) },
    ])
      expect(quickly(() => matchWeights([['up.weight', { dims: [2] }]], new Map([['up.weight', wrong as never]])))).toMatch(
        'WeightError: weight "up.weight": not a tensor; expected a tensor, a lazy tensor, or a function that returns a tensor',
      );
  });

  it('rules that are not rules are refused', () => {
    for (const wrong of [7, null, {}, { name: 'a rule', op: 'Add' }])
      expect(
        quickly(() => compile(relu({}), { target: targets.cpu, inputs, weights: new Map(), rules: [wrong as never] })),
      ).toMatch('ConfigError: rules: wrong value; expected a list of rules');
  });

  it('an op with only numbers as operands is refused with a clear error', () => {
    expect(quickly(() => ops.add(1, 2))).toMatch(
      'ShapeError: Add: no operand is a value of a graph; expected at least one, got [1, 2]',
    );
  });

  it('an input with a name that is reserved in JavaScript is refused', () => {
    const own = JSON.parse('{"__proto__": ["float32", [2, 3]]}');
    expect(quickly(() => compile(relu({}), { target: targets.cpu, inputs: own, weights: new Map() }))).toMatch(
      'ConfigError: inputs: wrong value; expected a name that JavaScript does not reserve',
    );
  });

  it('an input or output without a name is refused, and an output with a reserved one', () => {
    const named = (input: string, output: string) =>
      quickly(() =>
        compile(
          module({}, (inputs: Readonly<Record<string, Value>>) => Object.fromEntries([[output, inputs[input]!]])),
          { target: targets.cpu, inputs: { [input]: ['float32', [2, 3]] } },
        ),
      );
    expect(named('', 'y')).toMatch('ConfigError: inputs: wrong value; expected a name, got ""');
    for (const output of ['', '__proto__'])
      expect(named('x', output)).toMatch(
        `ConfigError: outputs: wrong name of an output; expected a name that is neither empty nor reserved by JavaScript, got "${output}"`,
      );
  });
});
