// A field that only some configs need.
import { ConfigError } from '@onnxformers/core';

/** The error for an optional field that another option requires. */
export const missing = (field: string, problem: string, path: string): ConfigError =>
  new ConfigError({
    path: `${path}.${field}`,
    problem,
    expected: 'an integer >= 1',
    got: 'nothing',
    hint: `Set ${field} here or in an enclosing block`,
  });
