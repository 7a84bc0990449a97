import { compile, targets } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import { drawGraph, drawGraphFile, pictureOf, toDot } from './picture';

describe('picture', () => {
  it('draws every node and every edge between nodes', async () => {
    const picture = {
      inputs: ['ids', 'lengths'],
      nodes: [
        { name: 'n0', op: 'Gather', path: 'embedding', inputs: ['ids'] },
        { name: 'n1', op: 'com.microsoft.MultiHeadAttention', path: 'layers.0.mixer', inputs: ['n0', 'n0', 'lengths'] },
        { name: 'n2', op: 'Add', path: 'layers.0', inputs: ['n0', 'n1'] },
      ],
      outputs: { y: 'n2' },
    };
    const svg = await drawGraph(picture);
    expect(svg.startsWith('<svg')).toBe(true);
    expect(svg).not.toContain('<!--');
    const count = (pattern: RegExp) => svg.match(pattern)?.length ?? 0;
    expect(count(/class="node op"/g)).toBe(2);
    expect(count(/class="node fused"/g)).toBe(1);
    expect(count(/class="node end"/g)).toBe(3);
    expect(count(/class="edge"/g)).toBe(7);
  });

  it('nests boxes of blocks, but draws none around a single node', () => {
    const node = (name: string, path: string) => ({ name, op: 'Add', path, inputs: [] });
    const nodes = [
      node('a', 'layers.0.mixer'),
      node('b', 'layers.0.mixer'),
      node('c', 'layers.0.norm'),
      node('d', ''),
      node('e', 'layers.1'),
    ];
    const dot = toDot({ inputs: [], nodes, outputs: {} });
    expect(dot.split('\n').slice(5, -1)).toEqual([
      '"d" [label="Add" class=op]',
      'subgraph "cluster layers.0" { label="layers.0" class=block',
      'subgraph "cluster layers.0.mixer" { label="mixer" class=block',
      '"a" [label="Add" class=op]',
      '"b" [label="Add" class=op]',
      '}',
      String.raw`"c" [label="Add\nnorm" class=op]`,
      '}',
      String.raw`"e" [label="Add\nlayers.1" class=op]`,
    ]);
  });

  it('omits values that are neither node nor input, and accepts any name', async () => {
    const odd = 'a "b" \\ <c> & ->;';
    const picture = {
      inputs: ['x'],
      nodes: [{ name: odd, op: `my."op"`, path: 'p<q>', inputs: ['x', 'a weight'] }],
      outputs: { y: odd },
    };
    const svg = await drawGraph(picture);
    expect(svg.match(/class="edge"/g)).toHaveLength(2);
    expect(svg).not.toContain('a weight');
    expect(svg).toContain('p&lt;q&gt;');
  });

  it('shows the nodes of a compiled model that run, and the arrows between them', async () => {
    const layer = zoo.build('layer', { name: 'pre_norm', dim: 24, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' });
    const model = compile(layer, { target: targets.cpu, inputs: { x: ['float32', ['batch', 'seq', 24]] } });
    const picture = pictureOf(model);
    expect(picture.inputs).toEqual(['x']);
    expect(picture.nodes.map(({ op }) => op)).toContain('com.microsoft.MultiHeadAttention');
    expect(picture.nodes.find(({ op }) => op.endsWith('MultiHeadAttention'))!.path).toBe('mixer.attention');
    const names = new Set([...picture.inputs, ...picture.nodes.map(({ name }) => name)]);
    for (const { inputs } of picture.nodes) for (const from of inputs) expect(names).toContain(from);
    expect(names).toContain(picture.outputs.y);
    const svg = await drawGraphFile(picture);
    expect(svg).toMatch(/^<svg[^>]*>\n<title>[^<]+<\/title>\n<style>/);
    expect(svg).toContain('MultiHeadAttention');
  });
});
