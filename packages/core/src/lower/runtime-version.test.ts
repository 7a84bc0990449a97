import { describe, expect, it } from 'vitest';
import { compile } from '../compile/compile';
import { ConfigError, RunError } from '../error';
import { module } from '../module/module';
import * as ops from '../ops/index';
import type { Ort } from '../runtime/ort';
import { createRunner } from '../runtime/runner';
import { targets } from '../targets/index';
import { lackedBy, onRuntime } from './runtime-version';
import type { Target } from './target';

const { Tanh: _, ...without } = targets.cpu.kernels;
/** A target whose Tanh came with version 1.30. */
const target: Target = {
  ...targets.cpu,
  name: 'grown',
  runtime: '1.30.0',
  older: [{ ...targets.cpu, name: 'grown', runtime: '1.29.0', kernels: without }],
};
const inputs = { x: ['float32', [3]] } as const;
const hyperbolic = module({}, ({ x }: Record<string, Parameters<typeof ops.tanh>[0]>) => ({ y: ops.tanh(x!) }));
const linear = module({}, ({ x }: Record<string, Parameters<typeof ops.neg>[0]>) => ({ y: ops.neg(x!) }));

describe('the kernels of a version', () => {
  it.each([
    [undefined, '1.30.0'],
    ['1.30.0', '1.30.0'],
    ['1.30.4', '1.30.0'],
    ['1.31', '1.30.0'],
    ['2.0.0', '1.30.0'],
    ['1.29.1', '1.29.0'],
  ])('%s takes the table of %s', (runtime, table) => {
    expect(onRuntime(target, runtime === undefined ? {} : { runtime }).runtime).toBe(table);
  });
  it('are not known of versions older than every table', () => {
    expect(() => onRuntime(target, { runtime: '1.9.0' })).toThrow(ConfigError);
    expect(() => onRuntime(target, { runtime: '1.9.0' })).toThrow('machine.runtime');
  });
  it('decide what a model may become', () => {
    expect(compile(hyperbolic, { target, inputs }).graph.nodes.map((n) => n.op.key)).toEqual(['Tanh']);
    expect(() => compile(hyperbolic, { target, inputs, machine: { runtime: '1.29.0' } })).toThrow('grown has no kernel for Tanh');
  });
  it('of every target of ONNX Runtime are known of two versions', () => {
    for (const t of [targets.cpu, targets.wasm, targets.webgpu, targets.cuda])
      expect([t.runtime, ...t.older!.map((o) => o.runtime)]).toEqual(['1.30.0', '1.29.0']);
  });
});

describe('a model', () => {
  it('knows what older versions lack', () => {
    const { runtimes } = compile(hyperbolic, { target, inputs });
    expect(runtimes).toEqual([
      { runtime: '1.30.0', lacks: [] },
      { runtime: '1.29.0', lacks: ['grown has no kernel for Tanh'] },
    ]);
    expect([lackedBy('1.31.0', runtimes), lackedBy('1.29.2', runtimes).length, lackedBy('1.20.0', runtimes).length]).toEqual([
      [],
      1,
      1,
    ]);
    expect(compile(linear, { target, inputs }).runtimes.flatMap((r) => r.lacks)).toEqual([]);
  });
  it('is refused by a runner on such a version, before a session is made', async () => {
    const created: string[] = [];
    const old = {
      Tensor: class {},
      InferenceSession: { create: async () => created.push('session') },
      env: { versions: { node: '1.29.0' } },
      listSupportedBackends: () => [{ name: 'cpu', bundled: true }],
    } as unknown as Ort;
    const refused = createRunner(compile(hyperbolic, { target, inputs }), old);
    await expect(refused).rejects.toThrow(RunError);
    await expect(refused).rejects.toThrow(
      "onnxruntime-node 1.29.0 lacks kernels that the model uses; expected ONNX Runtime 1.30.0, got grown has no kernel for Tanh. Update the runtime, or compile with machine: { runtime: '1.29.0' }",
    );
    expect(created).toEqual([]);
  });
});
