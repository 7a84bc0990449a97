// Measurements from the command line.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { cli, lm, parsed, write } from './cli.test-helper';

describe('bench', () => {
  const few = ['--seq', '16', '--few', '1', '--more', '2', '--repetitions', '2'];

  it('measures an attention, and the same in primitive ops', async () => {
    const { json } = await parsed(
      'bench',
      'attention',
      ...few,
      '--heads',
      '4',
      '--kv-heads',
      '2',
      '--head-dim',
      '8',
      '--causal',
      '--vs',
      'decomposed',
    );
    expect(json).toMatchObject({
      what: 'attention',
      heads: 4,
      kvHeads: 2,
      headDim: 8,
      seq: 16,
      causal: true,
      dtype: 'float32',
      onnxruntime: ort.env.versions.node,
    });
    expect(json.flops).toBe(4 * 4 * 8 * 16 * 8);
    expect(json.rows.map((r: { name: string }) => r.name)).toEqual(['cpu', 'cpu, decomposed']);
    expect(json.rows[0].kernels.some((k: string) => /Attention/.test(k))).toBe(true);
    expect(json.rows[1].kernels).toContain('Softmax');
    for (const row of json.rows) expect([typeof row.median, typeof row.spread]).toEqual(['number', 'number']);
  });

  it('measures the block of a config', async () => {
    await write('layer.json', lm.stack.layers.mixer && { ...lm.stack.layers, dim: 12 });
    const { code, out } = await cli('bench', 'block', 'layer.json', ...few, '--target', 'wasm');
    expect(code).toBe(0);
    expect(out).toMatch(/kind layer · block pre_norm/);
    expect(out).toMatch(/^ {2}wasm +-?[\d.e-]+ +[\d.e-]+ +.*MultiHeadAttention/m);
  });

  it('refuses a block that does not give what it takes', async () => {
    await write('lm.json', lm);
    const { code, err } = await cli('bench', 'block', 'lm.json', ...few);
    expect([code, err]).toEqual([1, expect.stringContaining('ConfigError: causal_lm: it cannot stand in a chain')]);
  });
});
