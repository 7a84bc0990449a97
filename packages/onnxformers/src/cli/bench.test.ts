// Measurements from the command line.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import type { Row } from './bench/report';
import { cli, dir, here, lm, parsed, write } from './cli.test-helper';

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
      bench: 'attention',
      target: 'cpu',
      setting: { heads: 4, kvHeads: 2, headDim: 8, seq: 16, causal: true, dtype: 'float32', flops: 4 * 4 * 8 * 16 * 8 },
      versions: { onnxruntime: ort.env.versions.node },
    });
    expect(json.rows.map((r: { variant: string }) => r.variant)).toEqual(['kernels', 'decomposed']);
    expect(json.rows[0].kernels.some((k: string) => /Attention/.test(k))).toBe(true);
    expect(json.rows[0].attention).toEqual(['Attention']);
    expect(json.rows[1].kernels).toContain('Softmax');
    expect(json.rows[1].attention).toEqual(['primitives']);
    for (const row of json.rows) expect([typeof row.median, typeof row.spread]).toEqual(['number', 'number']);
  });

  it('measures the block of a config', async () => {
    await write('layer.json', lm.stack.layers.mixer && { ...lm.stack.layers, dim: 12 });
    const { code, out } = await cli('bench', 'block', 'layer.json', ...few, '--target', 'wasm');
    expect(code).toBe(0);
    expect(out).toMatch(/^bench block · batch 1 .*\nwasm · /);
    expect(out).toMatch(/^ {2}layer pre_norm +(?:[\d.e-]+|–) +[\d.e-]+ .*MultiHeadAttention/m);
  });

  it('measures copies of a whole model', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('bench', 'block', 'lm.json', ...few);
    expect(json).toMatchObject({ bench: 'block', setting: { batch: 1, seq: 16 }, rows: [{ subject: 'model causal_lm' }] });
    expect(json.rows[0].kernels).toContain('MatMul');
  });

  it('measures an attention with a bias, a cap and padding', async () => {
    const sizes = ['--kv-seq', '19', '--lengths', '7,19,11', '--bias', '--softcap', '30.5', '--heads', '2', '--head-dim', '8'];
    const { json } = await parsed('bench', 'attention', ...few, ...sizes);
    expect(json.setting).toMatchObject({ batch: 3, seq: 16, kvSeq: 19, lengths: [7, 19, 11], bias: true, softcap: 30.5 });
    expect(json.setting.flops).toBe(4 * 2 * 8 * 16 * (7 + 19 + 11));
  });

  it('measures registered blocks by their names, one or all of a kind', async () => {
    const one = await parsed('bench', 'block', 'multi_head', ...few, '--heads', '2', '--head-dim', '8', '--causal');
    expect(one.json).toMatchObject({ setting: { heads: 2, headDim: 8, causal: true }, rows: [{ subject: 'mixer multi_head' }] });
    // The window is a mask too, which some of them cannot apply; an even one suits no window around the query.
    const all = await parsed('bench', 'block', '--all', '--kind', 'attention', ...few, '--heads', '2', '--window', '4');
    expect(all.json.rows.map((r: { subject: string }) => r.subject)).toEqual([
      'attention scaled_dot_product',
      'attention flex_attention',
      'attention differential',
      'attention talking_heads',
      'attention sigmoid_attention',
      'attention blocksparse',
      'attention global',
      'attention random',
      'attention sparse',
    ]);
    expect(all.json.leftOut).toEqual([
      { name: 'attention linformer', reason: expect.stringContaining('does not support the mask: window') },
      { name: 'attention local', reason: expect.stringContaining('expected an odd number, or causal: true, got 4') },
      ...['neighborhood', 'nystrom', 'orthoformer', 'favor', 'lambda'].map((name) => ({
        name: `attention ${name}`,
        reason: expect.stringContaining('does not support the mask: window'),
      })),
    ]);
  });

  it.each([
    [['attention', 'x'], 'bench attention takes no words; "x" is too much'],
    [['attention', '--all'], 'bench attention has no option --all'],
    [['attention', '--mask', 'causl'], '--mask must be one of all, none, causal, '],
    [['attention', '--mask', 'all', '--window', '3'], '--mask and --window cannot be given together'],
    [['varlen', '--lengths', '3,0'], '--lengths contains 0; expected 1 to 1024, the positions of the model'],
    [['varlen', '--layout', 'packd'], '--layout must be one of packed, longest, positions, got "packd"; did you mean packed?'],
    [['varlen', '--depth', '0'], 'depth is 0; expected more than 0'],
    [['model'], 'bench model requires CONFIG'],
    [['compare', 'a.json'], 'bench compare requires B.json'],
    [['block', 'mlp', '--all'], 'bench block takes "mlp" or --all, not both'],
    [['block', 'mlp', '--softcap', '3'], 'bench block has no option --softcap'],
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

  it('measures forms of attention by their names', async () => {
    const { json } = await parsed('bench', 'attention', ...few, '--batch', '2', '--mask', 'documents, causal;sinks, causal');
    expect(json.rows.map(({ subject, attention }: { subject: string; attention: string[] }) => [subject, attention])).toEqual([
      ['documents, causal', expect.arrayContaining([expect.stringMatching(/^Attend on padded rows/), 'GroupQueryAttention'])],
      ['sinks, causal', ['GroupQueryAttention']],
    ]);
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

describe('bench zoo', () => {
  const sizes = ['--heads', '2', '--head-dim', '8', '--window', '16'];

  it('measures mechanisms by length beside exact attention of the same mask, and draws them', async () => {
    const only = ['--only', 'local;local, causal;pooling', '--lengths', '256,128', '--same-process', '--out', 'zoo'];
    const { json } = await parsed('bench', 'zoo', ...sizes, ...only);
    expect(json).toMatchObject({ bench: 'zoo', target: 'cpu', setting: { heads: 2, headDim: 8, window: 16 }, leftOut: [] });
    const subjects = ['exact', 'exact, causal', 'local', 'local, causal', 'pooling'];
    expect(json.rows.map((r: { subject: string; seq: number }) => [r.seq, r.subject])).toEqual(
      [128, 256].flatMap((seq) => subjects.map((subject) => [seq, subject])),
    );
    const at = (subject: string, seq: number) => json.rows.find((r: Row) => r.subject === subject && r.seq === seq);
    expect(at('local, causal', 256).faster).toBeCloseTo(at('exact, causal', 256).median / at('local, causal', 256).median, 9);
    expect(at('exact', 256)).not.toHaveProperty('faster');
    // Two products of all pairs and a softmax, of which there are five operations for each score.
    const pairs = 2 * 256 * 256;
    expect(at('exact', 256).flops).toBeGreaterThan(4 * 8 * pairs);
    expect(at('exact', 256).flops).toBeLessThan((4 * 8 + 8) * pairs + 256 * 16 * 20);
    expect(at('local', 256).attention).toEqual(['blocks', 'Attention with the mask as a tensor']);
    expect(at('local', 256).largest).toBeGreaterThan(0);
    expect(await readFile(join(dir, 'zoo.svg'), 'utf8')).toContain('<title>local, causal</title>');
    expect(await readFile(join(dir, 'zoo.html'), 'utf8')).toContain('<title>local, causal</title>');
    expect(JSON.parse(await readFile(join(dir, 'zoo.json'), 'utf8'))).toEqual(json);
  });

  it('stops a mechanism that exceeds its memory, and does not try it at longer sequences', async () => {
    const only = ['--only', 'exact', '--lengths', '64,128,512', '--memory', '0.00005', '--same-process'];
    const { json } = await parsed('bench', 'zoo', ...sizes, ...only);
    expect(json.rows.map(({ seq }: Row) => seq)).toEqual([64]);
    expect(json.leftOut).toEqual([
      {
        name: 'exact, 128',
        reason: expect.stringMatching(/^its largest intermediate result has 0\.\d+ GiB, at most 0\.00005 are allowed$/),
      },
      { name: 'exact, 512', reason: 'it was stopped at 128 positions' },
    ]);
  });

  it.each([
    [['--only', 'locl'], '--only must be one of exact, exact, causal, flex_attention, differential, '],
    [['--lengths', '0'], '--lengths contains 0; expected more than 0'],
    [['--seconds', '0'], 'seconds is 0; expected more than 0'],
  ])('refuses %j', async (args, message) => {
    const { code, err } = await here('bench', 'zoo', ...args);
    expect([code, err]).toEqual([2, expect.stringContaining(message)]);
  });
});

describe('bench model', () => {
  const once = ['--repeat', '1', '--warmups', '0'];

  it('measures whole runs, by number of positions', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('bench', 'model', 'lm.json', ...once, '--batch', '2', '--seq', '3,7', '--vs', 'decomposed');
    expect(json).toMatchObject({ bench: 'model', setting: { kind: 'model', block: 'causal_lm', batch: 2 } });
    const rows = json.rows.map((r: { subject: string; variant: string; tokens: number }) => [r.subject, r.variant, r.tokens]);
    expect(rows).toEqual([
      ['seq 3', 'kernels', 6],
      ['seq 3', 'decomposed', 6],
      ['seq 7', 'kernels', 14],
      ['seq 7', 'decomposed', 14],
    ]);
    for (const r of json.rows) expect(r.tokensPerSecond).toBeCloseTo((1000 * r.tokens) / r.median, 6);
  });

  it('measures sequences of different lengths padded and packed', async () => {
    await write('lm.json', lm);
    const { json } = await parsed('bench', 'model', 'lm.json', ...once, '--lengths', '7,3,2');
    expect(json.rows).toMatchObject([
      { subject: 'padded to 7', tokens: 12, padding: 1 - 12 / 21 },
      { subject: 'packed', tokens: 12, padding: 0 },
    ]);
  });

  it('asks for a size that it does not know', async () => {
    await write('sized.json', {
      kind: 'mixer',
      config: { name: 'multi_head', dim: 12, heads: 3 },
      inputs: { x: ['float32', ['rows', 'seq', 12]] },
    });
    const { code, err } = await cli('bench', 'model', 'sized.json', ...once);
    expect([code, err]).toEqual([1, expect.stringMatching(/inputs\.x: the size "rows" is not known; .*Give it: --size rows=N/)]);
    expect((await cli('bench', 'model', 'sized.json', ...once, '--size', 'rows=2')).code).toBe(0);
  });
});

describe('bench varlen and bench compare', () => {
  const small = [
    '--depth',
    '1',
    '--heads',
    '2',
    '--head-dim',
    '8',
    '--vocab',
    '17',
    '--positions',
    '19',
    '--sequences',
    '3',
    '--repeat',
    '3',
    '--warmups',
    '1',
  ];

  it('write reports and pages, which compare reads', async () => {
    const { code, out, err } = await cli('bench', 'varlen', ...small, '--out', 'a');
    expect([code, err.replace(/lost in noise.*\n/, '')]).toEqual([0, '']);
    const report = JSON.parse(await readFile(join(dir, 'a.json'), 'utf8'));
    const longest = report.setting.longest;
    expect(report.rows.map((r: { subject: string; variant: string }) => `${r.subject}, ${r.variant}`)).toEqual(
      ['bidirectional', 'causal'].flatMap((variant) =>
        ['packed', `padded to ${longest}`, 'padded to 19', 'packed, equal lengths', 'padded, equal lengths'].map(
          (s) => `${s}, float32, ${variant}`,
        ),
      ),
    );
    for (const { padding, attention, tokensPerSecond, subject } of report.rows) {
      expect(padding > 0).toBe(/^padded to/.test(subject));
      expect(attention.length).toBeGreaterThan(0);
      expect(tokensPerSecond).toBeGreaterThan(0);
      expect(out).toContain(subject);
    }
    const page = await readFile(join(dir, 'a.html'), 'utf8');
    expect(page).toMatch(/^<!doctype html>/);
    // Nothing is loaded from elsewhere.
    expect(page.match(/(?:src|href)=/g)).toBeNull();
    expect(JSON.parse(/<script type="application\/json" id="report">(.*)<\/script>/.exec(page)![1]!)).toEqual(report);

    const slower = {
      ...report,
      versions: { ...report.versions, onnxruntime: '1.0.0' },
      rows: report.rows.slice(1).map((r: object) => ({ ...r, median: 8, spread: 1, attention: ['primitives'] })),
    };
    await write('b.json', slower);
    await write('c.json', { ...report, rows: report.rows.map((r: object) => ({ ...r, median: 4, spread: 1 })) });
    const { json } = await parsed('bench', 'compare', 'c.json', 'b.json', '--out', 'd');
    expect(json.changed).toEqual([`versions.onnxruntime: ${ort.env.versions.node} → 1.0.0`]);
    expect(json.onlyBefore).toEqual(['packed, float32, bidirectional']);
    expect(json.rows[0]).toMatchObject({
      name: `padded to ${longest}, float32, bidirectional`,
      before: 4,
      after: 8,
      ratio: 2,
      differs: true,
      kernels: 'primitives',
    });
    expect(json.rows[0].kernelsBefore).toMatch(/MultiHeadAttention/);
    expect(await readFile(join(dir, 'd.html'), 'utf8')).toContain('× 2.00');
    const text = (await cli('bench', 'compare', 'c.json', 'b.json')).out;
    expect(text).toMatch(/MultiHeadAttention.* → primitives/);
  });

  it.each([
    [
      'lm.json',
      'a report',
      lm,
      'not a report of a benchmark; expected JSON that onnxformers bench wrote with --out or --json, got bench: nothing',
    ],
    ['text.json', 'JSON', 'x', 'not a report of a benchmark; '],
    [
      'rows.json',
      'rows',
      { bench: 'block', setting: {}, machine: {}, versions: {}, target: 'cpu', date: '', leftOut: [], rows: [{ subject: 'x' }] },
      'got rows[0]: ',
    ],
  ])('refuses %s, which is not %s', async (name, _, content, message) => {
    await write(name, content);
    const { code, err } = await here('bench', 'compare', join(dir, name), join(dir, name));
    expect([code, err]).toEqual([1, expect.stringContaining(message)]);
  });

  it('refuses reports of different benchmarks', async () => {
    const report = (bench: string, subject: string) => ({
      ...{ bench, setting: {}, machine: {}, versions: {}, target: 'cpu', date: '', leftOut: [] },
      rows: [{ subject, median: 1, spread: 0, attention: [], kernels: [] }],
    });
    await write('e.json', report('block', 'x'));
    await write('f.json', report('model', 'x'));
    await write('g.json', report('block', 'y'));
    const paths = (...names: string[]) => names.map((name) => join(dir, name));
    const other = await here('bench', 'compare', ...paths('e.json', 'f.json'));
    expect([other.code, other.err]).toEqual([
      1,
      expect.stringMatching(
        /f\.json: the reports are of different benchmarks; expected bench block, as in .*e\.json, got bench model/,
      ),
    ]);
    const none = await here('bench', 'compare', ...paths('e.json', 'g.json'));
    expect([none.code, none.err]).toEqual([
      1,
      expect.stringMatching(/g\.json: the reports have no row in common; expected rows such as "x", got y/),
    ]);
  });
});
