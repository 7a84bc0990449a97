import { describe, expect, it } from 'vitest';
import { drawGraph, toDot } from './picture';
import { examplePicture } from './picture.test-helper';

describe('picture', () => {
  it('draws every node and every edge between nodes', async () => {
    const picture = examplePicture();
    const svg = await drawGraph(picture);
    expect(svg.startsWith('<svg')).toBe(true);
    expect(svg).not.toContain('<!--');
    const count = (pattern: RegExp) => svg.match(pattern)?.length ?? 0;
    expect(count(/class="node op"/g) + count(/class="node fused"/g)).toBe(picture.nodes.length);
    expect(count(/class="node fused"/g)).toBe(4);
    expect(count(/class="node end"/g)).toBe(3);
    expect(count(/class="edge"/g)).toBe(picture.nodes.reduce((n, { inputs }) => n + inputs.length, 0) + 1);
  });

  it('puts blocks into blocks, and none around a single node', () => {
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

  it('leaves out what is neither node nor input, and copes with any name', async () => {
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
});
