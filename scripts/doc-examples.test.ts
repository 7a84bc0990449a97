import { expect, it } from 'vitest';
import { allExamples, check, docstringExamples, markdownExample } from './doc-examples';

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
