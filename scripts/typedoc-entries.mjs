// A plugin for typedoc: the entries of our docstrings (`Shapes   …`, `Throws   …`) become lists, and `Example` a block of code; names stand in
// groups by what they are for, which is the folder that declares them; documents have their titles in the sidebar instead of file names, and names
// of blocks and functions in them lead to the API page.
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

// Name of a block in configs → name of its function. Shared by the conversions of all packages, which run one after another.
const blockNames = new Map();

/** Names in code that lead somewhere: `multi_head`, `createRunner`, `compile(…)`, `ops.size`. A plain word such as `causal` is more often an option. */
const linkedName = (/** @type {string} */ code) => /^`((?:ops\.)?[\w$]+)(\(.*\))?`$/s.exec(code);

/**
 * The page that a code span stands for; undefined where its name is not one, or an everyday word.
 *
 * @param {string} code
 * @param {ReadonlyMap<string, import('typedoc').Reflection>} pages
 * @param {ReadonlyMap<string, string>} blocks
 */
export function pageOf(code, pages, blocks) {
  const [, name, call] = linkedName(code) ?? [];
  if (!name) return undefined;
  const block = blocks.get(name);
  if (block !== undefined) return name.includes('_') || call ? pages.get(block) : undefined;
  return call || /^ops\.|^[A-Z]|.[A-Z]/.test(name) ? pages.get(name) : undefined;
}

/** Pages by name. Of equal names that of a block or a function wins over that of an op, which is called `ops.…` @param {import('typedoc').ProjectReflection} project */
function pagesOf(project) {
  const pages = new Map();
  const shown =
    ReflectionKind.Function |
    ReflectionKind.Variable |
    ReflectionKind.Class |
    ReflectionKind.Interface |
    ReflectionKind.TypeAlias;
  for (const reflection of Object.values(project.reflections)) {
    const parent = reflection.parent;
    if (!reflection.kindOf(shown) || !parent?.kindOf(ReflectionKind.SomeModule)) continue;
    const ofOps = parent.name === 'ops';
    const name = ofOps ? `ops.${reflection.name}` : reflection.name;
    if (!pages.has(name)) pages.set(name, reflection);
  }
  return pages;
}

/** Links the names in a document. @param {import('typedoc').CommentDisplayPart[]} content @param {ReadonlyMap<string, import('typedoc').Reflection>} pages */
function link(content, pages) {
  content.forEach((part, i) => {
    if (part.kind !== 'code' || part.text.includes('\n')) return;
    const [before, after] = [content[i - 1]?.text ?? '', content[i + 1]?.text ?? ''];
    if (before.endsWith('[') && after.startsWith(']')) return;
    const target = pageOf(part.text, pages, blockNames);
    if (target) content[i] = { kind: 'inline-tag', tag: '@linkcode', text: part.text.slice(1, -1), target };
  });
}

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DECLARATION, (context, reflection) => {
    if (!reflection.parent?.isProject() && reflection.parent?.kind !== ReflectionKind.Module) return;
    const symbol = context.getSymbolFromReflection(reflection);
    const [declaration] = symbol?.declarations ?? [];
    const file = declaration?.getSourceFile().fileName;
    const [, block] = /defineBlock\(\{\s*kind: '\w+',\s*name: '(\w+)'/.exec(declaration?.getText() ?? '') ?? [];
    if (block) blockNames.set(block, reflection.name);
    const purpose = file && purposeOf(file);
    if (!purpose) return;
    reflection.comment ??= new Comment();
    for (const comment of [reflection.comment, ...(reflection.signatures ?? []).flatMap((s) => (s.comment ? [s.comment] : []))])
      if (!comment.getTag('@category')) comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: purpose }]));
  });
  app.renderer.on(Renderer.EVENT_BEGIN, ({ project }) => {
    const pages = pagesOf(project);
    for (const reflection of Object.values(project.reflections)) {
      if (reflection.kind === ReflectionKind.Document) {
        const document = /** @type {import('typedoc').DocumentReflection} */ (reflection);
        document.name = titleOf(document.content.map(({ text }) => text).join('')) ?? document.name;
        link(document.content, pages);
      }
      const { comment } = reflection;
      if (!comment) continue;
      const parts = [...comment.summary, ...comment.blockTags.flatMap(({ content }) => content)];
      for (const part of parts) if (part.kind === 'text') part.text = rewritten(part.text);
    }
  });
}
