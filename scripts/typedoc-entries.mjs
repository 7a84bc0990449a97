// A plugin for typedoc: the entries of our docstrings (`Shapes   …`, `Throws   …`) become lists, and `Example` a block of code.
import { Renderer } from 'typedoc';

const names = 'Shapes|Dtypes|Masks|Cost|Throws|Source|Lowers';
const entry = new RegExp(`^(${names}) {2,}`, 'gm');
const example = /^Example {2,}(.+(?:\n {4,}.+)*)/gm;

/** @param {string} text */
const rewritten = (text) =>
  text
    .replace(example, (_, code) => `\n\`\`\`ts\n${code.replace(/\n {4,}/g, '\n')}\n\`\`\`\n`)
    .replace(entry, (_, name) => `- **${name}** `);

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.renderer.on(Renderer.EVENT_BEGIN, ({ project }) => {
    for (const { comment } of Object.values(project.reflections)) {
      if (!comment) continue;
      const parts = [...comment.summary, ...comment.blockTags.flatMap(({ content }) => content)];
      for (const part of parts) if (part.kind === 'text') part.text = rewritten(part.text);
    }
  });
}
