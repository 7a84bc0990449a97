// A plugin for typedoc: the entries of our docstrings (`Shapes   …`, `Throws   …`) become lists, and `Example` a block of code; names stand in
// groups by what they are for, which is the folder that declares them; documents have their titles in the sidebar instead of file names.
import { Comment, CommentTag, Converter, ReflectionKind, Renderer } from 'typedoc';

const names = 'Shapes|Dtypes|Masks|Cost|Throws|Source|Lowers';
const entry = new RegExp(`^(${names}) {2,}`, 'gm');
const example = /^Example {2,}(.+(?:\n {4,}.+)*)/gm;

/** @param {string} text */
const rewritten = (text) =>
  text
    .replace(example, (_, code) => `\n\`\`\`ts\n${code.replace(/\n {4,}/g, '\n')}\n\`\`\`\n`)
    .replace(entry, (_, name) => `- **${name}** `);

/** What the names of a folder below `src` are for. The first pattern that matches. */
const purposes = /** @type {const} */ ([
  [/core\/src\/error/, 'Errors'],
  [/core\/src\/(block|config)\//, 'Blocks and configs'],
  [/core\/src\/(module|layers|parameter)\//, 'Modules and parameters'],
  [/core\/src\/parametrizations\//, 'LoRA and quantised weights'],
  [/core\/src\/(sequence|mask)\//, 'Masks and the sequence context'],
  [/core\/src\/(compile|saved|targets)\/|core\/src\/lower\/target/, 'Compiling and saving'],
  [/core\/src\/(interpret|autodiff)\//, 'Gradients and the interpreter'],
  [/core\/src\/runtime\//, 'Running'],
  [/core\/src\/explain\//, 'Explaining'],
  [/core\/src\/(weights|disk)\//, 'Weights'],
  [/core\/src\/tensor\//, 'Tensors'],
  [/core\/src\/dim\//, 'Sizes'],
  [/core\/src\/onnx\//, 'ONNX files'],
  [/core\/src\/(ir|lower)\//, 'Graph and rules'],
  [/core\/src\/testing\//, 'Testing blocks and ops'],
  [/attention\/src\/softmax\//, 'Softmax attention'],
  [/attention\/src\/sparse\//, 'Sparse attention'],
  [/attention\/src\/low-rank\//, 'Low-rank attention'],
  [/attention\/src\/mixers\//, 'Mixers'],
  [/attention\/src\/kernels\//, 'Rules of kernels'],
  [/feedforward\/src\/activations\//, 'Activations'],
  [/residual\/src\/norms\//, 'Norms'],
  [/onnxformers\/src\/factory\//, 'Models'],
  [/onnxformers\/src\/import\//, 'Configs and checkpoints of other libraries'],
]);

/** Files of ops by family: `core/src/ops/reduce.ts` → `reduce`. */
const familyOf = (/** @type {string} */ file) => /core\/src\/ops\/([^/]+)\.ts$/.exec(file)?.[1];

/** @param {string} file */
export function purposeOf(file) {
  const path = file.replaceAll('\\', '/');
  const purpose = purposes.find(([pattern]) => pattern.test(path))?.[1];
  const family = familyOf(path);
  return purpose ?? (family && `Ops: ${family.replaceAll('-', ' ')}`);
}

/** The first heading of a page. @param {string} text */
export const titleOf = (text) => /^# (.+)$/m.exec(text)?.[1]?.replaceAll('`', '');

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.parent?.isProject() && reflection.parent?.kind !== ReflectionKind.Module) return;
    const symbol = context.getSymbolFromReflection(reflection);
    const file = symbol?.declarations?.[0]?.getSourceFile().fileName;
    const purpose = file && purposeOf(file);
    if (!purpose) return;
    reflection.comment ??= new Comment();
    for (const comment of [reflection.comment, ...(reflection.signatures ?? []).flatMap((s) => (s.comment ? [s.comment] : []))])
      if (!comment.getTag('@category')) comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: purpose }]));
  });
  app.renderer.on(Renderer.EVENT_BEGIN, ({ project }) => {
    for (const reflection of Object.values(project.reflections)) {
      if (reflection.kind === ReflectionKind.Document) {
        const document = /** @type {import('typedoc').DocumentReflection} */ (reflection);
        document.name = titleOf(document.content.map(({ text }) => text).join('')) ?? document.name;
      }
      const { comment } = reflection;
      if (!comment) continue;
      const parts = [...comment.summary, ...comment.blockTags.flatMap(({ content }) => content)];
      for (const part of parts) if (part.kind === 'text') part.text = rewritten(part.text);
    }
  });
}
