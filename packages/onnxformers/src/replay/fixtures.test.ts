import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FileError, type Tensor, tensor } from '@onnxformers/core';
import { saveSafetensors } from '@onnxformers/core/node';
import { describe, expect, it } from 'vitest';
import { type FixtureCase, type ReadCase, readFixtures } from './fixture-set';
import { machineOf } from './machines';
import { type Outcome, replay, totalsOf } from './replay';

const folder = fileURLToPath(new URL('../../fixtures/xformers', import.meta.url));
const whole = (read: readonly ReadCase[]): readonly FixtureCase[] =>
  read.map((c) => {
    if ('damaged' in c) throw new Error(c.damaged);
    return c;
  });
const cases = whole(await readFixtures(folder));

describe.each(['portable', 'portable-18', 'cpu', 'interpreter'])('recorded cases on %s', (name) => {
  it('pass', async () => {
    const machine = await machineOf(name);
    const outcomes: Outcome[] = [];
    for (const c of cases) outcomes.push(await replay(c, machine));
    expect(outcomes.filter(({ result }) => result === 'failed').map(({ id, reason }) => `${id}: ${reason}`)).toEqual([]);
    expect(totalsOf(outcomes)).toEqual({ passed: 451, failed: 0, missing: 0 });
  });
});

describe('a case', () => {
  const find = (block: string): FixtureCase => cases.find((c) => c.block === block)!;

  it('fails if a result differs from the record', async () => {
    const c = find('MLP');
    const y = c.out.get('y')!;
    const data = Float32Array.from(y.data as Float32Array);
    data[7]! += 2 * c.atol;
    const other = { ...c, out: new Map([['y', { ...y, data }]]) };
    const outcome = await replay(other, await machineOf('interpreter'));
    expect(outcome.result).toBe('failed');
    expect(outcome.reason).toMatch(/1 of 96 elements differ, at \[0, 0, 7\]/);
  });

  it('fails if an output has other dims, or is absent', async () => {
    const c = find('linformer');
    const y = c.out.get('y')!;
    const machine = await machineOf('interpreter');
    const flat = { ...c, out: new Map([['y', { ...y, dims: [y.data.length] }]]) };
    expect((await replay(flat, machine)).reason).toMatch(/expected float32\[\d+\], got float32\[4, 16, 8\]/);
    const two = { ...c, out: new Map([...c.out, ['z', y]]) };
    expect((await replay(two, machine)).reason).toBe('no output "z"');
  });

  it('counts as missing only if the library does not have the block', async () => {
    const machine = await machineOf('interpreter');
    expect(await replay({ ...find('MLP'), block: 'hydra' }, machine)).toMatchObject({
      result: 'missing',
      reason: 'no such block yet: "hydra"',
    });
    const wrong = { ...find('MLP'), config: { ...find('MLP').config, activation: 'tanh' } };
    expect(await replay(wrong, machine)).toMatchObject({
      result: 'failed',
      reason: expect.stringMatching(/MLP.activation: wrong value/),
    });
  });

  const named = (id: string): FixtureCase => cases.find((c) => c.id === id)!;
  const floats = (t: Tensor): number[] => Array.from(t.data as Float32Array);
  const passes = async (c: FixtureCase) => expect((await replay(c, await machineOf('interpreter'))).reason).toBeUndefined();

  it('is the same for any order of its tensors', async () => {
    const machine = await machineOf('interpreter');
    const turned = cases.filter((c) => c.in.size > 1).map((c) => ({ ...c, in: new Map([...c.in].reverse()) }));
    const outcomes = [];
    for (const c of turned) outcomes.push(await replay(c, machine));
    expect(outcomes.filter(({ result }) => result === 'failed')).toEqual([]);
    expect(outcomes.filter(({ result }) => result === 'passed').length).toBeGreaterThan(90);
  });

  it('accepts any number where a record has NaN computed from a masked row, but requires 0 in the row itself', async () => {
    const c = named('multi_head.sdp_bool_mask');
    const [mask, y] = [c.in.get('att_mask')!, c.out.get('y')!];
    const [batch, seq, dim] = y.dims as [number, number, number];
    const keep = Uint8Array.from(mask.data as Uint8Array).fill(0, 3 * seq, 4 * seq);
    const rows = floats(y);
    for (let b = 0; b < batch; b++) rows.fill(Number.NaN, (b * seq + 3) * dim, (b * seq + 4) * dim);
    await passes({
      ...c,
      in: new Map([...c.in, ['att_mask', { ...mask, data: keep }]]),
      out: new Map([['y', tensor('float32', y.dims, rows)]]),
    });

    const bare = named('attention_sdp.plain');
    const one = floats(bare.out.get('y')!).fill(Number.NaN, 5, 6);
    const outcome = await replay(
      { ...bare, out: new Map([['y', tensor('float32', bare.out.get('y')!.dims, one)]]) },
      await machineOf('interpreter'),
    );
    expect(outcome.reason).toMatch(/1 of \d+ elements differ/);
  });

  it('may have padding for each head, with a convolution of heads', async () => {
    const c = named('attention_nystrom.key_padding_conv_skip');
    const { dims, data } = c.in.get('key_padding_mask')!;
    const [batch, seq] = dims as [number, number];
    const heads = Number(c.config.num_heads);
    const rows = Array.from({ length: batch * heads }, (_, n) =>
      Array.from((data as Uint8Array).subarray(Math.floor(n / heads) * seq, (Math.floor(n / heads) + 1) * seq)),
    );
    await passes({ ...c, in: new Map([...c.in, ['key_padding_mask', tensor('bool', [batch * heads, 1, seq], rows.flat())]]) });
  });

  it('may have one additive mask for all queries, or one for all keys', async () => {
    const c = named('attention_sdp.bool3d_key_broadcast');
    const { dims, data } = c.in.get('att_mask')!;
    const added = Array.from(data as Uint8Array, (x) => (x ? 0 : Number.NEGATIVE_INFINITY));
    await passes({ ...c, in: new Map([...c.in, ['att_mask', tensor('float32', dims, added)]]) });
    const plain = named('attention_sdp.plain');
    const [folded, seq] = plain.in.get('q')!.dims as [number, number];
    const all = tensor('bool', [folded, seq, 1], new Array(folded * seq).fill(1));
    await passes({ ...plain, in: new Map([...plain.in, ['att_mask', all]]) });
  });

  it('may norm the memory without a way around, and have no biases', async () => {
    const c = named('residual.prenorm_qkv_differ');
    const x = floats(c.in.get('x')!);
    const y = c.out.get('y')!;
    const branch = floats(y).map((v, i) => v - x[i]!);
    const param = new Map([...c.param].map(([name, t]) => [name.replace(/^layer\./, ''), t]));
    const alone = { ...c, block: 'PreNorm', param, out: new Map([['y', tensor('float32', y.dims, branch)]]) };
    await passes(alone);
    const bare = { ...alone, param: new Map([...param].filter(([name]) => !/proj.*bias$/.test(name))) };
    expect((await replay(bare, await machineOf('interpreter'))).reason).toMatch(/elements differ/);
  });

  it('counts once over several machines, by the worst of them', () => {
    const outcomes = [
      { id: 'a', result: 'passed' },
      { id: 'a', result: 'failed' },
      { id: 'b', result: 'passed' },
      { id: 'b', result: 'passed' },
      { id: 'c', result: 'missing' },
    ] as const;
    expect(totalsOf(outcomes)).toEqual({ passed: 1, failed: 1, missing: 1 });
  });
});

describe('a folder with damaged cases', () => {
  const x = tensor('float32', [3], [-1, 0, 2]);
  const good = {
    id: 'good',
    family: 'sound',
    block: 'activation',
    config: { activation: 'relu' },
    call: null,
    tensors: { in: ['x'], out: ['y'] },
    atol: 0,
  };
  const broken: readonly (readonly [unknown, RegExp])[] = [
    [null, /cases\[1\]: not a case; expected an object, got null/],
    [{ ...good, id: 3 }, /cases\[2\]\.id: wrong value; expected a name, got 3/],
    [{ ...good }, /two cases have the same id; got "good"/],
    [{ ...good, id: 'no tensor' }, /the file of sound lacks a tensor; expected no tensor\/out\/y/],
    [{ ...good, id: 'no result', tensors: { in: ['x'] } }, /no result has no result; expected tensors in the group out/],
    [{ ...good, id: 'no budget', atol: undefined }, /cases\[6\]\.atol: wrong value; expected a number >= 0, got nothing/],
    [{ ...good, id: 'no lists', tensors: { in: 'x' } }, /cases\[7\]\.tensors: wrong value; expected lists of names/],
    [{ ...good, id: 'list', config: [] }, /cases\[8\]\.config: wrong value; expected an object/],
    [{ ...good, id: 'no file', family: 'nowhere' }, /nowhere\.safetensors: cannot be read/],
    [{ ...good, id: 'cut', family: 'cut' }, /cut\.safetensors/],
    [{ ...good, id: 'homeless', family: 'unknown' }, /a family has no file name; got "unknown"/],
    [{ ...good, id: 'option', config: { activation: 'relu', slope: 2 } }, /unknown option "slope"/],
    [{ ...good, id: 'shape' }, /expected float32\[1\], got float32\[3\]/],
    [{ ...good, id: 'weights', block: 'MLP', config: { name: 'MLP', dim_model: 3, hidden_layer_multiplier: 2 } }, /up\.weight/],
    [{ ...good, id: 'kind', config: { name: 'sine', dim_model: 3 } }, /./],
  ];

  async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'recorded-'));
    try {
      const y = tensor('float32', [3], [0, 0, 2]);
      const other = tensor('float32', [1], [2]);
      const ids = ['good', 'no result', 'option', 'shape', 'weights', 'kind'];
      const tensors = ids.flatMap((id) => [[`${id}/in/x`, x] as const, [`${id}/out/y`, id === 'shape' ? other : y] as const]);
      await saveSafetensors(join(folder, 'sound.safetensors'), new Map([...tensors, ['no tensor/in/x', x]]));
      await writeFile(join(folder, 'cut.safetensors'), Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 123));
      const files = Object.fromEntries(['sound', 'cut', 'nowhere'].map((name) => [name, `${name}.safetensors`]));
      const manifest = { format: 1, files, cases: [good, ...broken.map(([c]) => c)] };
      await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
      await use(folder);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  it('fails them, each with its reason, and replays the rest', () =>
    withFolder(async (folder) => {
      const machine = await machineOf('interpreter');
      const outcomes: Outcome[] = [];
      for (const c of await readFixtures(folder)) outcomes.push(await replay(c, machine));
      expect(outcomes[0]).toMatchObject({ id: 'good', result: 'passed' });
      for (const [i, [, reason]] of broken.entries()) {
        expect(outcomes[i + 1]!.reason).toMatch(reason);
        expect(outcomes[i + 1]!.result).toBe('failed');
      }
      expect(new Set(outcomes.map(({ id }) => id)).size).toBe(outcomes.length);
      expect(totalsOf(outcomes)).toEqual({ passed: 1, failed: broken.length, missing: 0 });
    }));

  it('is reported by the command, which continues to the end', () =>
    withFolder(async (folder) => {
      const json = join(folder, 'outcomes.json');
      const script = fileURLToPath(new URL('./fixtures.ts', import.meta.url));
      const node = ['--conditions=@onnxformers/source', '--import', 'tsx', script, folder, '--target', 'cpu', '--json', json];
      const { status, stdout } = spawnSync(process.execPath, node, { encoding: 'utf8' });
      expect(status).toBe(1);
      expect(stdout).toMatch(/^no tensor {2}FAILED {2}cpu: .*lacks a tensor/m);
      expect(stdout).toContain(`total: 1 passed, ${broken.length} failed, 0 missing`);
      const { total, targets } = JSON.parse(await readFile(json, 'utf8'));
      expect(total).toEqual({ passed: 1, failed: broken.length, missing: 0 });
      expect(targets.cpu).toEqual(total);
    }));

  it('is refused without a manifest of this format', () =>
    withFolder(async (folder) => {
      await writeFile(join(folder, 'manifest.json'), '{"format": 1, "cases": [');
      await expect(readFixtures(folder)).rejects.toThrow(/manifest\.json: not JSON/);
      await writeFile(join(folder, 'manifest.json'), '{"format": 2, "files": {}, "cases": []}');
      await expect(readFixtures(folder)).rejects.toThrow(/expected format 1, files and cases/);
      await rm(join(folder, 'manifest.json'));
      await expect(readFixtures(folder)).rejects.toThrow(FileError);
    }));
});
