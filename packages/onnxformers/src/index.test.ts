import * as core from '@onnxformers/core';
import { expect, it } from 'vitest';
import * as all from './index';

it('exports everything of core: no name of this package hides one', () => {
  const hidden = Object.entries(core).filter(([name, value]) => (all as Readonly<Record<string, unknown>>)[name] !== value);
  expect(hidden.map(([name]) => name)).toEqual([]);
});
