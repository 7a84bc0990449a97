import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { initialize } from '../compile/initialize';
import { toBytes } from '../compile/serialize';
import type { Value } from '../ir/graph';
import { linear } from '../layers/linear';
import { module } from '../module/module';
import { inspect } from '../onnx/inspect';
import { add, exp, gather, matmul, relu, transpose } from '../ops/index';
import { zeros } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { targets } from '../targets/index';
import { printSummary } from './print-summary';
import { summary } from './summary';

// Three layers of a linear map, the last two the same one; a buffer that is not trained.
function model(o: Partial<CompileOptions> = {}) {
  const layer = () => {
    const map = linear(5, 5);
    return module({ map }, (x: Value) => relu(map(x)));
  };
  const [first, shared] = [layer(), layer()];
  const shift = new Parameter([5], zeros, { trainable: false });
  const whole = module({ layers: [first, shared], shift }, ({ x }: Readonly<Record<string, Value>>) => ({
    y: add(shared(shared(first(x!))), shift),
  }));
  return compile(whole, { target: targets.cpu, inputs: { x: ['float32', ['batch', 'seq', 5]] }, ...o });
}

describe('summary', () => {
  const about = summary(model(), { batch: 3, seq: 7 });
  it('counts parameters and operations of each module, once for a shared one', () => {
    expect(about.root).toMatchObject({ path: '', parameters: 65, trainable: 60, bytes: 260 });
    const each = 21 * 5 * 11;
    expect(about.root.flops).toBe(3 * (each + 105) + 105);
    expect(about.root.children.map(({ path, name, parameters, flops }) => ({ path, name, parameters, flops }))).toEqual([
      { path: 'layers.0', name: 'layers.0', parameters: 30, flops: each + 105 },
      { path: 'layers.1', name: 'layers.1', parameters: 30, flops: 2 * (each + 105) },
    ]);
    expect(about.root.children[1]!.children).toMatchObject([
      { path: 'layers.1.map', name: 'map', flops: 2 * each, children: [] },
    ]);
  });
  it('knows the memory of weights, inputs and results', () => {
    // Each sum stands beside the product that it is made of, never a third.
    expect(about.memory).toEqual({ weights: 260, inputs: 420, outputs: 420, activations: 840 });
  });
  it('stores weights in the dtype of the model', () => {
    expect(summary(model({ dtype: 'bfloat16' }), { batch: 1, seq: 1 }).memory.weights).toBe(130);
  });
  it('is the same on every target, but for memory', () => {
    const { root, memory } = summary(model({ target: targets.portable(18) }), { batch: 3, seq: 7 });
    expect(root).toEqual(about.root);
    expect(memory.weights).toBe(260);
  });

  it('keeps what is still needed', () => {
    const chain = module({}, ({ x }: Readonly<Record<string, Value>>) => {
      const first = exp(x!);
      const last = exp(exp(exp(first)));
      return { y: add(first, last) };
    });
    const { memory } = summary(compile(chain, { target: targets.cpu, inputs: { x: ['float32', [1000]] } }));
    expect(memory.activations).toBe(3 * 4000);
  });

  it('refuses sizes that are missing, unknown or invalid', () => {
    expect(() => summary(model(), { batch: 3 })).toThrow(
      'sizes: the size of seq is missing; expected { batch: 128, seq: 128 }, got batch',
    );
    expect(() => summary(model(), { batch: 3, seq: 7, sequ: 8 })).toThrow(
      'sizes.sequ: the model has no size of this name; expected batch, seq. Did you mean "seq"?',
    );
    expect(() => summary(model(), { batch: -3, seq: 7 })).toThrow(
      'sizes.batch: not a size; expected an integer of at least 0, got -3',
    );
  });

  it('as text', () => {
    expect(printSummary(about)).toMatchInlineSnapshot(`
      "               block  parameters        FLOPs
      model                         65        3,885
        layers.0, 1             2 × 30  2 × ≈ 1,890
          map                       30      ≈ 1,733

      parameters  65 (5 fixed), 260 bytes
      FLOPs       3,885 for batch 3, seq 7
      memory      weights 260 bytes, inputs 420 bytes, activations 840 bytes at their peak (outputs 420 bytes of it)"
    `);
  });
});

it('counts as many parameters as inspect, for a file that contains a tied weight twice', async () => {
  const table = new Parameter([31, 12], zeros);
  const tied = module({ table }, ({ ids }: Record<string, Value>) => {
    const w = ids!.graph.root.param(table);
    return { y: matmul(gather(w, ids!, 0), transpose(w, [1, 0])) };
  });
  const model = compile(tied, {
    target: targets.cpu,
    inputs: { ids: ['int64', ['batch', 'seq']] },
    weights: initialize(tied, { seed: 3 }),
  });
  expect([summary(model, { batch: 2, seq: 3 }).root.parameters, inspect(await toBytes(model)).parameters]).toEqual([
    31 * 12,
    31 * 12,
  ]);
});
