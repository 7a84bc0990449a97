// What the command line tells of this machine.
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { cli, parsed } from './cli.test-helper';

describe('info', () => {
  it('tries every provider, and reports which work', async () => {
    const { code, json } = await parsed('info');
    expect(code).toBe(0);
    expect(json).toMatchObject({ node: process.versions.node, onnxformers: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(json.runtimes).toEqual([
      { name: 'onnxruntime-node', version: ort.env.versions.node },
      { name: 'onnxruntime-web', version: ort.env.versions.node },
    ]);
    const works = Object.fromEntries(json.providers.map((p: { provider: string; works: boolean }) => [p.provider, p.works]));
    expect(works).toMatchObject({ cpu: true, wasm: true });
    for (const p of json.providers) if (!p.works) expect(p.reason).not.toBe('');
    expect(json.targets.find((t: { name: string }) => t.name === 'cpu').fused).toContain('MultiHeadAttention');
    expect(json.targets.find((t: { name: string }) => t.name === 'portable-18').fused).toEqual([]);
  });

  it('reports why a provider does not load', async () => {
    const { json } = await parsed('info', '--provider', 'nonsense');
    expect(json).toMatchObject({ runtime: 'onnxruntime-node', provider: 'nonsense', works: false });
    expect(json.reason).toContain('backend not found');
  });

  it('lists the kernels of a target', async () => {
    const { out } = await cli('info', '--target', 'wasm');
    expect(out).toMatch(/^ {2}com\.microsoft\.MultiHeadAttention +float32/m);
  });
});
