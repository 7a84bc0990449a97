// Measurements from the command line.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { cli, here, lm, parsed, write } from './cli.test-helper';

describe('bench', () => {
  const few = ['--seq', '16', '--few', '1', '--more', '2', '--repeat', '2'];

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

  it('measures a whole model', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('bench', 'block', 'lm.json', ...few);
    expect(json).toMatchObject({ kind: 'model', block: 'causal_lm', batch: 1, seq: 16 });
    expect(json.rows[0].kernels).toContain('MatMul');
  });

  it('measures an attention with a bias, a cap and padding', async () => {
    const sizes = ['--kv-seq', '19', '--lengths', '7,19,11', '--bias', '--softcap', '30.5', '--heads', '2', '--head-dim', '8'];
    const { json } = await parsed('bench', 'attention', ...few, ...sizes);
    expect(json).toMatchObject({ batch: 3, seq: 16, kvSeq: 19, lengths: [7, 19, 11], bias: true, softcap: 30.5 });
    expect(json.flops).toBe(4 * 2 * 8 * 16 * (7 + 19 + 11));
  });

  it('measures registered blocks by their names, one or all of a kind', async () => {
    const one = await parsed('bench', 'block', 'multi_head', ...few, '--heads', '2', '--head-dim', '8', '--causal');
    expect(one.json).toMatchObject({ kind: 'mixer', block: 'multi_head', heads: 2, headDim: 8, causal: true });
    // The window is a mask too, which two of them cannot apply; an even one suits no window around the query.
    const all = await parsed('bench', 'block', '--all', '--kind', 'attention', ...few, '--heads', '2', '--window', '4');
    expect(all.json.rows.map((r: { block: string }) => r.block)).toEqual(['scaled_dot_product', 'flex_attention']);
    expect(all.json.leftOut).toEqual([
      { kind: 'attention', block: 'linformer', reason: expect.stringContaining('does not support the mask: window') },
      { kind: 'attention', block: 'local', reason: expect.stringContaining('expected an odd number, or causal: true, got 4') },
      { kind: 'attention', block: 'nystrom', reason: expect.stringContaining('does not support the mask: window') },
    ]);
  });

  it.each([
    [['attention', 'x'], 'bench attention takes no argument; got "x". Its options choose what is measured'],
    [['attention', '--all'], '--all and --kind are options of bench block, not of bench attention'],
    [['block', 'mlp', '--all'], 'bench block takes "mlp" or --all, not both'],
    [
      ['block', 'mlp', '--softcap', '3'],
      '--softcap is an option of bench attention; set softcap in the config of the block instead',
    ],
    [['attention', '--softcap', 'x'], '--softcap must be a number, got "x"'],
    [['attention', '--softcap', '0'], 'softcap is 0; expected more than 0'],
    [['attention', '--lengths', '3,x'], '--lengths must be a list of integers, got "x"'],
    [['attention', '--lengths', '3,4', '--batch', '3'], '--lengths has 2 numbers for a batch of 3'],
    [['attention', '--lengths', '600'], '--lengths contains 600, but a sequence has 512 positions'],
    [['attention', '--heads', '4', '--kv-heads', '3'], '--kv-heads 3 does not divide --heads 4'],
    [['block', '--all', '--kind', 'norms'], 'got "norms"; did you mean norm?'],
  ])('refuses %j', async (args, message) => {
    const { code, err } = await here('bench', ...args);
    expect([code, err]).toEqual([2, expect.stringContaining(message)]);
  });

  it('knows the names of blocks', async () => {
    const { code, err } = await here('bench', 'block', 'multi_hed');
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(
        /^ConfigError: multi_hed: neither a file nor the name of a registered block\. Did you mean "multi_head"\? Blocks: scaled_dot_product, /,
      ),
    ]);
  });
});
