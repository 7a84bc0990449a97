// The config of a module, as JSON.
import { ConfigError, describe } from '../error';
import { isModule } from '../module/module';

/**
 * The plain config from which a module was built, defaults filled in.
 *
 * Throws   ConfigError for a module that was not built from a config, or whose config contains a function
 */
export function toConfig(m: unknown, path = ''): Readonly<Record<string, unknown>> {
  const where = path || (isModule(m) ? (m.about.blockName ?? 'module') : 'module');
  if (!isModule(m) || !m.about.config)
    throw new ConfigError({
      path: where,
      problem: 'this module was not made from a config, so it has none',
      got: describe(m),
      hint: 'Wrap it with defineBlock and register the block',
    });
  const plain: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(m.about.config)) {
    if (value === undefined) continue;
    if (typeof value === 'function')
      throw new ConfigError({
        path: `${where}.${key}`,
        problem: 'a function cannot be written as JSON',
        got: describe(value),
        hint: 'Define a block for it and use the name of that block',
      });
    plain[key] = value;
  }
  return plain;
}
