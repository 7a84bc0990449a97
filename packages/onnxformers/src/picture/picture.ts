// A compiled graph as a picture. Graphviz (compiled to WebAssembly) is loaded only when a picture is drawn.

import type { Model } from '@onnxformers/core';
import { checkArguments } from '@onnxformers/core';
import { domainOf, nameOf } from '@onnxformers/core/lowering';

/** One node of the compiled graph. */
export interface PictureNode {
  /** Unique in the graph. */
  readonly name: string;
  /** The op with its domain, if that is not ONNX's own. */
  readonly op: string;
  /** The dotted path of the block that it serves: `layers.0.mixer`; empty for the model itself. */
  readonly path: string;
  /** Names of the nodes whose results it reads, and of inputs of the graph. Weights and constants are not drawn. */
  readonly inputs: readonly string[];
}
/** A graph to draw. */
export interface Picture {
  readonly inputs: readonly string[];
  readonly nodes: readonly PictureNode[];
  /** Name of each output → name of the node that makes it. */
  readonly outputs: Readonly<Record<string, string>>;
}

type Node = Model['graph']['nodes'][number];

/**
 * The lowered graph of a model as nodes and arrows. Nodes that depend only on weights are omitted: they are computed when the model is written.
 *
 * Example  const dot = toDot(pictureOf(model));
 */
export function pictureOf(model: Pick<Model, 'graph'>): Picture {
  checkArguments('pictureOf', { model });
  const { graph } = model;
  const running = new Set<Node>();
  for (const node of graph.nodes)
    if (node.operands.some((v) => v?.leaf?.kind === 'input' || (v?.producer && running.has(v.producer)))) running.add(node);
  const nodes = [...running];
  const names = new Map<Node, string>(nodes.map((node, i) => [node, `n${i}`]));
  const sources = (node: Node): string[] =>
    node.operands.flatMap((v) => (v?.producer && names.get(v.producer)) ?? (v?.leaf?.kind === 'input' ? [nameOf(v)!] : []));
  return {
    inputs: graph.inputs.map((v) => nameOf(v)!),
    nodes: nodes.map((node) => ({
      name: names.get(node)!,
      op: domainOf(node.op.key).filter(Boolean).join('.'),
      path: node.scope,
      inputs: sources(node),
    })),
    outputs: Object.fromEntries(graph.outputs.map(({ name, value }) => [name, names.get(value.producer!) ?? nameOf(value)!])),
  };
}

interface Group {
  readonly label: string;
  readonly nodes: PictureNode[];
  readonly groups: Map<string, Group>;
}

const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&').replace(/\s+/g, ' ')}"`;

// "layers.0.mixer" → ["layers.0", "mixer"]: a number belongs to the list that it counts.
const stepsOf = (path: string): string[] => path.match(/[^.]+(?:\.\d+)*/g) ?? [];

function grouped(nodes: readonly PictureNode[]): Group {
  const root: Group = { label: '', nodes: [], groups: new Map() };
  for (const node of nodes) {
    let group = root;
    for (const step of stepsOf(node.path)) {
      let inner = group.groups.get(step);
      if (!inner) {
        inner = { label: step, nodes: [], groups: new Map() };
        group.groups.set(step, inner);
      }
      group = inner;
    }
    group.nodes.push(node);
  }
  return root;
}

function nodeStatement({ name, op }: PictureNode, block?: string): string {
  const lines = [op.slice(op.lastIndexOf('.') + 1), ...(block === undefined ? [] : [block])];
  return `${quote(name)} [label="${lines.map((line) => quote(line).slice(1, -1)).join('\\n')}" class=${op.includes('.') ? 'fused' : 'op'}]`;
}

function statements({ nodes, groups }: Group, path: string): string[] {
  return [
    ...nodes.map((node) => nodeStatement(node)),
    ...[...groups.values()].flatMap((group) => {
      // A box around a single node adds nothing to the block's name.
      if (group.nodes.length === 1 && group.groups.size === 0) return [nodeStatement(group.nodes[0]!, group.label)];
      const inner = path ? `${path}.${group.label}` : group.label;
      return [
        `subgraph ${quote(`cluster ${inner}`)} { label=${quote(group.label)} class=block`,
        ...statements(group, inner),
        '}',
      ];
    }),
  ];
}

/** The graph in Graphviz's language: blocks are nested boxes, nodes have the classes `op`, `fused` and `end`. */
export function toDot(picture: Picture): string {
  checkArguments('toDot', { picture });
  const { inputs, nodes, outputs } = picture;
  const known = new Set([...inputs, ...nodes.map(({ name }) => name)]);
  const ends = (names: readonly string[]) =>
    names.map((name) => `${quote(name)} [label=${quote(name)} shape=box style="rounded" class=end]`);
  const results = Object.entries(outputs).map(([name, from]) => [`output ${name}`, name, from] as const);
  return [
    'digraph {',
    'bgcolor=transparent; rankdir=TB; nodesep=0.25; ranksep=0.32; margin=0',
    'fontname="Helvetica,Arial,sans-serif"; fontsize=11; labeljust=l; style=rounded',
    'node [shape=box style="rounded,filled" fontname="Helvetica,Arial,sans-serif" fontsize=12 height=0.36 margin="0.24,0.05"]',
    'edge [arrowsize=0.6]',
    ...ends(inputs),
    ...statements(grouped(nodes), ''),
    ...results.map(([id, label]) => `${quote(id)} [label=${quote(label)} shape=box style="rounded" class=end]`),
    ...nodes.flatMap(({ name, inputs: from }) =>
      from.filter((source) => known.has(source)).map((source) => `${quote(source)} -> ${quote(name)}`),
    ),
    ...results.map(([id, , from]) => `${quote(from)} -> ${quote(id)}`),
    '}',
  ].join('\n');
}

/**
 * A graph as an SVG element for a page, whose style sheet colours it by the classes `op`, `fused`, `end` and `block`.
 *
 * Example  const svg = await drawGraph(pictureOf(model));
 */
export async function drawGraph(picture: Picture): Promise<string> {
  checkArguments('drawGraph', { picture });
  const { instance } = await import('@viz-js/viz');
  const svg = (await instance()).renderString(toDot(picture), { format: 'svg' });
  const element = svg.slice(svg.indexOf('<svg')).replace(/<!--[\s\S]*?-->/g, '');
  // A page may shrink it to fit, but the text must stay legible.
  return element.replace(
    /^<svg width="([\d.]+)pt"/,
    (start, width) => `${start} style="min-width: ${Math.ceil(width * 0.75)}pt"`,
  );
}

// Colours for light and dark, on a ground of its own: the page around it may not follow the system's choice.
const style = `<style>
  svg { background: #ffffff; } text { fill: #1d2326; } .node text + text { fill: #626b70; font-size: 10px; }
  .cluster > path, .cluster > polygon { fill: #f8f7f5; stroke: #e4e1dc; } .cluster > text { fill: #626b70; }
  .node > path { fill: #f1efeb; stroke: #9aa3a7; } .fused > path { fill: #d8eef0; stroke: #0a6b78; } .end > path { fill: none; stroke: #626b70; }
  .edge path, .edge polygon { stroke: #9aa3a7; } .edge polygon { fill: #9aa3a7; }
  @media (prefers-color-scheme: dark) {
    svg { background: #14191b; } text { fill: #e6e9ea; } .node text + text, .cluster > text { fill: #98a2a7; }
    .cluster > path, .cluster > polygon { fill: #1c2225; stroke: #2b3236; }
    .node > path { fill: #242b2f; stroke: #6b757a; } .fused > path { fill: #12444a; stroke: #74d3da; }
    .edge path, .edge polygon { stroke: #6b757a; } .edge polygon { fill: #6b757a; }
  }
</style>`;

/**
 * A graph as an SVG file with its own colours.
 *
 * Example  const svg = await drawGraphFile(pictureOf(model));
 */
export async function drawGraphFile(picture: Picture): Promise<string> {
  checkArguments('drawGraphFile', { picture });
  const element = await drawGraph(picture);
  const open = element.indexOf('>') + 1;
  return `${element.slice(0, open)}\n<title>The graph of a compiled model</title>\n${style}${element.slice(open)}`;
}
