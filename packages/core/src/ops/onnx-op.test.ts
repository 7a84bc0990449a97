import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { grad } from '../autodiff/grad';
import { compile } from '../compile/compile';
import { serialize } from '../compile/serialize';
import { interpret } from '../interpret/interpret';
import { printType } from '../ir/define-op';
import { mismatch, type Value } from '../ir/graph';
import { module } from '../module/module';
import type { Ort } from '../runtime/ort';
import { createRunner } from '../runtime/runner';
import { portable } from '../targets/portable';
import { tensor } from '../tensor/convert';
import { add } from './elementwise';
import { onnxOp } from './onnx-op';
import { reduceSum } from './reduce';
import { GraphBuilder } from './vocabulary';

const softsign = onnxOp({ key: 'Softsign', since: 1, infer: ([x]) => [x!] });
const thresholded = onnxOp({
  key: 'ThresholdedRelu',
  since: 22,
  attributes: { alpha: 'float' },
  infer: ([x]) => [x!],
  kernels: { portable: ['float32'] },
});
const model = (f: (x: Value) => Value) => module({}, ({ x }: Record<string, Value>) => ({ y: f(x!) }));
const inputs = { x: ['float32', ['n', 3]] } as const;

describe('onnxOp', () => {
  it('runs with its attributes between ops of ours', async () => {
    const whole = model((x) => add(thresholded([softsign([x])[0]], { alpha: 0.5 })[0]!, 1));
    const run = await createRunner(compile(whole, { target: portable(23), inputs, weights: new Map() }), ort as unknown as Ort);
    const x = [-2, -0.5, 0, 0.5, 1, 3];
    const { y } = await run({ x: tensor('float32', [2, 3], x) });
    const expected = x.map((v) => v / (1 + Math.abs(v))).map((v) => (v > 0.5 ? v : 0) + 1);
    [...y!.data].forEach((v, i) => expect(v).toBeCloseTo(expected[i]!, 6));
    await run.dispose();
  });

  it('imports the version of its domain that it needs', () => {
    const own = onnxOp({ key: 'ai.onnx.ml.Binarizer', since: 3, infer: ([x]) => [x!] });
    const { opsets } = serialize(
      compile(
        model((x) => own([x])[0]!),
        { target: portable(18), inputs, weights: new Map() },
      ),
    );
    expect(opsets).toEqual({ '': 18, 'ai.onnx.ml': 3 });
  });

  it('is refused by targets and dtypes that it does not name, and above the opset', () => {
    const half = { x: ['float16', ['n', 3]] } as const;
    const relu = model((x) => thresholded([x])[0]!);
    expect(() => compile(relu, { target: { ...portable(23), name: 'mine' }, inputs })).toThrow(
      'mine has no kernel for ThresholdedRelu',
    );
    expect(() => compile(relu, { target: portable(21), inputs })).toThrow('ThresholdedRelu needs opset 22');
    const inHalf = compile(relu, { target: portable(23), dtype: 'float16', inputs: half });
    expect(inHalf.graph.nodes.map((n) => n.op.key)).toEqual(['Cast', 'ThresholdedRelu', 'Cast']);
  });

  it('reports what it lacks', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [3]);
    const [y] = softsign([x]);
    expect(() => grad(reduceSum(y!, [0], { keepDims: false }), [x])).toThrow('Softsign has no derivative');
    g.output('y', y!);
    expect(() => interpret(g.finish(), { x: { dtype: 'float32', dims: [3], data: new Float64Array(3) } })).toThrow('Softsign');
  });

  it('names the place of operands that do not fit, and refuses what is not an op', () => {
    const inverse = onnxOp({
      key: 'com.microsoft.Inverse',
      infer: ([x]) => {
        if (x?.dims.length !== 2 || x.dims[0] !== x.dims[1])
          throw mismatch('only a square has an inverse', '[n, n]', printType(x));
        return [x];
      },
    });
    const invert = module({}, (x: Value) => inverse([x])[0]!);
    const outer = module({ invert }, ({ x }: Record<string, Value>) => ({ y: invert(x!) }));
    expect(() => compile(outer, { target: portable(18), inputs })).toThrow(
      /com\.microsoft\.Inverse in invert: only a square has an inverse.*float32\[n, 3\]/,
    );
    expect(() => onnxOp({ key: 'onnxformers.Attend', infer: () => [] })).toThrow('does not name an ONNX op');
    expect(() => onnxOp({ key: 'com.example.', infer: () => [] })).toThrow('does not name an ONNX op');
  });
});
