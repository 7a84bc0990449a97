import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LoweringError } from '../error';
import { interpret } from '../interpret/interpret';
import { GraphBuilder } from '../ir/graph';
import { coreRules } from '../kernels/index';
import { lower } from '../lower/lower';
import { accepts } from '../lower/target';
import * as ops from '../ops/index';
import { type OpCase, prepare } from '../testing/op-suite';
import { targets } from './index';
import { kernelTables } from './kernels.generated';
import { standardOps } from './portable';

const runtimes = [targets.cpu, targets.wasm, targets.cuda, targets.webgpu];
const folder = new URL('../ops/', import.meta.url);
const files = readdirSync(folder).filter((f) => f.endsWith('.cases.ts'));
const cases = (
  await Promise.all(files.map(async (f) => (await import(new URL(f, folder).href)) as { cases?: readonly OpCase[] }))
).flatMap((m) => m.cases ?? []);

describe.each([...runtimes, targets.portable(18), targets.portable(21), targets.portable(23)])('$name', (target) => {
  it('runs or defines every op of the vocabulary', () => {
    expect(cases.length).toBeGreaterThan(300);
    const failures = new Map<string, string>();
    for (const c of cases) {
      try {
        lower(prepare(c).graph, target, { rules: coreRules });
      } catch (error) {
        if (!(error instanceof LoweringError)) throw error;
        failures.set(/^\S+ of \S+/.exec(error.problem)![0], c.name);
      }
    }
    // No model computes in float64.
    expect([...failures.keys()].filter((f) => !f.endsWith('float64'))).toEqual([]);
  });
  it('has a row for nothing that it has no op for', () => {
    const known = new Set(standardOps.map((op) => op.key));
    const foreign = Object.keys(target.kernels).filter((key) => !key.includes('.') && !known.has(key));
    expect(foreign.filter((key) => key !== 'SimplifiedLayerNormalization')).toEqual([]);
  });
});

describe('the probed table', () => {
  it('knows the runtime of each provider', () => {
    expect(Object.keys(kernelTables).sort()).toEqual(['cpu', 'cuda', 'wasm', 'webgpu']);
    for (const { runtime } of Object.values(kernelTables)) expect(runtime).toMatch(/^1\.\d+\.\d+$/);
  });
  it.each(Object.entries(kernelTables))('%s names dtypes, each once', (_, { kernels }) => {
    for (const [key, { own, cpu = '' }] of Object.entries<{ own: string; cpu?: string }>(kernels)) {
      const names = `${own} ${cpu}`.split(' ').filter(Boolean);
      expect(new Set(names).size, key).toBe(names.length);
      expect(
        names.every((n) => /^(float64|float32|float16|bfloat16|u?int(64|32|16|8)|bool)$/.test(n)),
        key,
      ).toBe(true);
    }
  });
  it('has no GroupQueryAttention of float32 on CUDA, and not the Attention of the standard on WebGPU', () => {
    expect(targets.cuda.kernels['com.microsoft.GroupQueryAttention']!.dtypes).toEqual(['float16', 'bfloat16']);
    expect(targets.webgpu.kernels.Attention).toBeUndefined();
    expect(targets.cpu.kernels.MatMul!.dtypes).not.toContain('bfloat16');
    expect(targets.cuda.kernels.Loop!.beside).toBeUndefined();
  });
});

describe('what a provider leaves to the CPU', () => {
  const graph = (dtype: 'float32' | 'int64') => {
    const g = new GraphBuilder();
    g.output('y', ops.mul(g.input('a', dtype, ['n']), g.input('b', dtype, ['n'])));
    return g.finish();
  };
  it('is allowed for integers', () => {
    const [node] = graph('int64').nodes;
    expect(accepts(targets.webgpu, {}, node!)).toBe(true);
    expect(targets.webgpu.kernels.Mul!.beside).toContain('int64');
    expect(targets.webgpu.kernels.Mul!.beside).not.toContain('float32');
  });
});

describe('definitions for providers that lack an op', () => {
  it.each([
    ['sign', ops.sign],
    ['round', ops.round],
    ['logSoftmax', ops.logSoftmax],
  ] as const)('%s on WebGPU', (_, f) => {
    const g = new GraphBuilder();
    g.output('y', f(g.input('x', 'float32', [7])));
    const traced = g.finish();
    const { graph, decisions } = lower(traced, targets.webgpu);
    expect(decisions.map((d) => d.chosen)).toContain('decomposed');
    const x = { dtype: 'float32', dims: [7], data: Float64Array.of(-2.5, -0.5, 0, 0.5, 1.5, 2.6, -7) } as const;
    expect(Array.from(interpret(graph, { x }).y!.data, (v) => v + 0)).toEqual(
      Array.from(interpret(traced, { x }).y!.data, (v) => expect.closeTo(v + 0, 6)),
    );
  });
});
