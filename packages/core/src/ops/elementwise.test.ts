import { test } from 'vitest';
import { checkOp } from '../testing';
import { cases } from './elementwise.cases';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));
