import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LoweringError } from '../error';
import { interpret } from '../interpret/interpret';
import { coreRules } from '../kernels/index';
import { pairOf } from '../lower/kernel-limits';
import { lower } from '../lower/lower';
import { accepts } from '../lower/target';
import * as ops from '../ops/index';
import { GraphBuilder } from '../ops/vocabulary';
import type { DType } from '../tensor/tensor';
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
    // CUDA refuses when it runs to add up bytes at indices, and nothing else stands for that.
    const known = target.name === 'cuda' ? ['ScatterND of int8'] : [];
    // No model computes in float64.
    expect([...failures.keys()].filter((f) => !f.endsWith('float64'))).toEqual(known);
  });
  it('has entries only for ops that exist', () => {
    const known = new Set(standardOps.map((op) => op.key));
    const foreign = Object.keys(target.kernels).filter((key) => !key.includes('.') && !known.has(key));
    expect(foreign.filter((key) => key !== 'SimplifiedLayerNormalization')).toEqual([]);
  });
});

describe('the probed table', () => {
  it('knows the runtime of each provider', () => {
    expect(Object.keys(kernelTables).sort()).toEqual(['cpu', 'cuda', 'wasm', 'webgpu']);
    for (const { runtime, older } of Object.values(kernelTables))
      for (const version of [runtime, ...older.map((o) => o.runtime)]) expect(version).toMatch(/^1\.\d+\.\d+$/);
  });
  it.each(Object.entries(kernelTables))('%s names two features together as they are looked up', (_, tables) => {
    const names = (x: unknown): string[] =>
      Object.entries(x as object).flatMap(([key, value]) =>
        value === 'wrong' || value === 'fails' ? [key] : typeof value === 'object' && value ? names(value) : [],
      );
    const pairs = names(tables).filter((name) => name.includes(' and '));
    for (const pair of pairs) expect(pairOf(...(pair.split(' and ') as [string, string]))).toBe(pair);
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
    expect(targets.cuda.kernels.Loop!.onCpu).toBeUndefined();
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
    expect(targets.webgpu.kernels.Mul!.onCpu).toContain('int64');
    expect(targets.webgpu.kernels.Mul!.onCpu).not.toContain('float32');
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

describe('forms of an op', () => {
  const reduced = (dtype: DType, reduction: 'none' | 'add') => {
    const g = new GraphBuilder();
    const [x, at, u] = [g.input('x', dtype, [7, 3]), g.input('at', 'int64', [5, 1]), g.input('u', dtype, [5, 3])];
    g.output('y', ops.scatterND(x, at, u, reduction));
    return g.finish();
  };
  it.each([
    ['float16', 'none', true],
    ['float16', 'add', false],
    ['float32', 'add', true],
  ] as const)('ScatterND of %s with reduction %s on cpu: %s', (dtype, reduction, there) => {
    const [node] = reduced(dtype, reduction).nodes;
    expect(accepts(targets.cpu, {}, node!) === true).toBe(there);
  });
  it('that lacks the dtype computes in float32, between casts', () => {
    const { graph } = lower(reduced('float16', 'add'), targets.cpu);
    expect(graph.nodes.map((n) => n.op.key).sort()).toEqual(['Cast', 'Cast', 'Cast', 'ScatterND']);
    expect(graph.nodes.find((n) => n.op.key === 'ScatterND')!.outputs[0]!.dtype).toBe('float32');
  });
  it.each([
    [16, true],
    [256, true],
    [512, false],
    [2048, false],
  ])('a product with blocks of %i 4-bit codes has a kernel on cpu: %s', (blockSize, there) => {
    const g = new GraphBuilder();
    const packed = g.input('packed', 'uint8', [5, 2, blockSize / 2]);
    const weight = ops.dequantizeBlocks(packed, g.input('scales', 'float32', [5, 2]), undefined, {
      bits: 4,
      blockSize,
      columns: 2 * blockSize,
    });
    g.output('y', ops.linear(g.input('x', 'float32', ['n', 2 * blockSize]), weight));
    const { graph, decisions } = lower(g.finish(), targets.cpu, { rules: coreRules });
    expect(graph.nodes.some((n) => n.op.key === 'com.microsoft.MatMulNBits')).toBe(there);
    const reasons = decisions.flatMap((d) => d.refused.map((r) => r.reason.text));
    if (!there) expect(reasons).toContain(`com.microsoft.MatMulNBits has no kernel with bits=4 block_size=${blockSize} on cpu`);
  });
});
