import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { allExamples, check, docstringExamples, markdownExample } from './doc-examples';
import { root } from './pnpm.mjs';

const page = [
  '# A page',
  '```ts',
  "import { dirname } from 'node:path';",
  'const a: string = dirname(x);',
  '```',
  'and',
  '```sh',
  'ls',
  '```',
];
const second = ['```ts', 'import {', '  dirname,', "} from 'node:path';", 'export const a = 1;', 'const b: string = a;', '```'];

it('compiles the fences of a page together, and reports the lines of errors', () => {
  const faults = check(markdownExample('page.md', [...page, ...second].join('\n')));
  expect(faults).toHaveLength(2);
  expect(faults[0]).toMatch(/page\.md:4: Cannot find name 'x'/);
  expect(faults[1]).toMatch(/page\.md:15: Type 'number' is not assignable to type 'string'/);
});

it('finds the examples of docstrings, and their continuation', () => {
  const text = ['/**', ' * Does.', ' *', ' * Example  const y = f(', ' *            1);', ' * Source   nobody', ' */'].join('\n');
  const [example, ...more] = docstringExamples('f.ts', text);
  expect(more).toEqual([]);
  expect(example?.lines).toEqual([
    { text: 'const y = f(', at: 4 },
    { text: '1);', at: 5 },
  ]);
});

it('every example in the documents and docstrings compiles', () => {
  const examples = allExamples();
  expect(examples.length).toBeGreaterThan(10);
  expect(check(examples)).toEqual([]);
});

/** Names that a page's code declares at the top level, each as often as it does. */
const declaredIn = (page: string): string[] => {
  const code = [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, body]) => body!).join('\n');
  const imported = [...code.matchAll(/^import \{([^}]*)\}|^import \* as (\w+)/gm)].flatMap(
    ([, names, all]) => all ?? names!.split(','),
  );
  const own = [...code.matchAll(/^(?:async )?(?:const|let|function|class|type|interface) (?:\{([^}]*)\}|\[([^\]]*)\]|(\w+))/gm)];
  const declared = own.flatMap(([, object, array, name]) => name ?? (object ?? array)!.split(','));
  const local = [...imported, ...declared].map((name) => name.trim().replace(/^type |^.*(?: as |: )/g, ''));
  return local.filter((name) => name !== '');
};
const twice = (names: readonly string[]): string[] => names.filter((name, i) => names.indexOf(name) !== i);

it('finds names that a page declares twice', () => {
  const first = ['```ts', "import { type A, b as c } from 'x';", 'const { y, z: w } = c();', '```'];
  const again = [
    '```ts',
    "import * as c from 'x';",
    'async function w() {',
    '  const y = 1;',
    '}',
    'let [v, A] = [1, 2];',
    '```',
  ];
  expect(twice(declaredIn([...first, ...again].join('\n')))).toEqual(['c', 'w', 'A']);
});

it('pages that run one part after another do so in one file', () => {
  const folder = join(root, 'docs', 'guides');
  const pages = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')] as const);
  const whole = pages.filter(([, text]) => /runs\s+as\s+printed,\s+one\s+part\s+after\s+another/.test(text));
  expect(whole.map(([name]) => name)).toContain('getting-started.md');
  expect(whole.map(([name, text]) => [name, twice(declaredIn(text))]).filter(([, names]) => names!.length)).toEqual([]);
});
