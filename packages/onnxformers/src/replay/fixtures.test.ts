import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type FixtureCase, readFixtures } from './fixture-set';
import { machineOf } from './machines';
import { type Outcome, replay, totalsOf } from './replay';

const folder = fileURLToPath(new URL('../../fixtures/xformers', import.meta.url));
const cases = await readFixtures(folder);

/** What the original has and this library has not yet. */
const notYet = [
  'the attention "random"',
  'the attention "global"',
  'the attention "favor"',
  'the attention "orthoformer"',
  'the attention "compositional"',
  'the attention "pooling"',
  'the attention "visual"',
  'the attention "lambda"',
  'the attention "blocksparse"',
  'the feedforward "Conv2DFeedforward"',
  'the feedforward "MixtureOfExperts"',
  'the option "simplicial_embeddings"',
  'the option "patch_embedding_config"',
  'the option "reversible"',
];
const blocksNotYet = [
  'pattern',
  'favor',
  'feature_map',
  'orthoformer',
  'random',
  'global',
  'compositional',
  'pooling',
  'visual',
  'lambda',
  'blocksparse',
  'MixtureOfExperts',
  'Conv2DFeedforward',
  'simplicial_embedding',
  'patch_embedding',
  'reversible',
];
const missing = [
  ...notYet.map((what) => `no such block yet: ${what}`),
  ...blocksNotYet.map((block) => `no such block yet: "${block}"`),
];

describe.each(['portable', 'portable-18', 'cpu', 'interpreter'])('recorded cases on %s', (name) => {
  it('pass, or ask for what is not here', async () => {
    const machine = await machineOf(name);
    const outcomes: Outcome[] = [];
    for (const c of cases) outcomes.push(await replay(c, machine));
    expect(outcomes.filter(({ result }) => result === 'failed').map(({ id, reason }) => `${id}: ${reason}`)).toEqual([]);
    expect(outcomes.filter(({ result, reason }) => result === 'missing' && !missing.includes(reason!))).toEqual([]);
    expect(totalsOf(outcomes)).toEqual({ passed: 233, failed: 0, missing: 218 });
  });
});

describe('a case', () => {
  const find = (block: string): FixtureCase => cases.find((c) => c.block === block)!;

  it('fails where a result is another than the record', async () => {
    const c = find('MLP');
    const y = c.out.get('y')!;
    const data = Float32Array.from(y.data as Float32Array);
    data[7]! += 2 * c.atol;
    const other = { ...c, out: new Map([['y', { ...y, data }]]) };
    const outcome = await replay(other, await machineOf('interpreter'));
    expect(outcome.result).toBe('failed');
    expect(outcome.reason).toMatch(/1 of 96 elements differ, at \[0, 0, 7\]/);
  });

  it('fails where an output is of other dims, or absent', async () => {
    const c = find('linformer');
    const y = c.out.get('y')!;
    const machine = await machineOf('interpreter');
    const flat = { ...c, out: new Map([['y', { ...y, dims: [y.data.length] }]]) };
    expect((await replay(flat, machine)).reason).toMatch(/expected float32\[\d+\], got float32\[4, 16, 8\]/);
    const two = { ...c, out: new Map([...c.out, ['z', y]]) };
    expect((await replay(two, machine)).reason).toBe('no output "z"');
  });

  it('counts as missing only where the block is not here', async () => {
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
