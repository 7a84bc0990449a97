// JSON Schema of the configs of a kind, for editors and for other programs.
import type { AnyBlock } from '../block/block-definition';
import type { Field } from './fields';

/** Draft 2020-12. Every reachable kind is in `$defs`. */
export function kindSchema(blocks: readonly AnyBlock[], kind: string): Readonly<Record<string, unknown>> {
  const defs: Record<string, unknown> = {};
  const define = (k: string) => {
    if (k in defs) return;
    defs[k] = {}; // registered before its blocks, since a kind may contain itself
    const own = blocks.filter((b) => b.kind === k);
    const names = own.map((b) => b.blockName);
    defs[k] = {
      anyOf: [
        ...own.map((b) => blockSchema(b)),
        ...(names.length ? [{ enum: names, description: `A ${k} with its defaults` }] : []),
      ],
    };
    for (const b of own) for (const f of Object.values(b.fields)) if (f.kind) define(f.kind);
  };
  define(kind);
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', $ref: `#/$defs/${kind}`, $defs: defs };
}

function blockSchema(block: AnyBlock): Record<string, unknown> {
  const properties: Record<string, unknown> = { name: { const: block.blockName } };
  const required = ['name'];
  for (const [name, f] of Object.entries(block.fields)) {
    if (f.type === 'fn') continue;
    properties[name] = f.kind ? slotSchema(f) : valueSchema(f);
    if (f.default === undefined && !f.optional && !f.inherit) required.push(name);
  }
  return { type: 'object', description: block.definition.summary, properties, required, additionalProperties: false };
}

function valueSchema({ schema, doc, unit, default: value }: Field): Record<string, unknown> {
  return {
    ...schema,
    description: unit ? `${doc} (${unit})` : doc,
    ...(value !== undefined && typeof value !== 'function' && { default: value }),
  };
}

function slotSchema(f: Field): Record<string, unknown> {
  const ref = { $ref: `#/$defs/${f.kind}` };
  return f.type === 'each' ? { description: f.doc, anyOf: [ref, { type: 'array', items: ref }] } : { ...ref, description: f.doc };
}
