// Sizes on the command line: `--size batch=2,seq=128`.
import { type Options, UsageError } from './command';

/** The option. */
export const sizeOption = {
  size: { type: 'list', doc: 'values of the size names', value: 'NAME=N,…' },
} as const satisfies Options;

/** Its values by name. Throws UsageError. */
export function namedSizes(list: readonly string[] = []): Readonly<Record<string, number>> {
  return Object.fromEntries(
    list.map((text) => {
      const [, name, n] = /^([^=]+)=(\d+)$/.exec(text) ?? [];
      if (name === undefined) throw new UsageError(`--size must be a list such as batch=2,seq=128, got "${text}"`);
      if (list.some((other) => other !== text && other.startsWith(`${name}=`)))
        throw new UsageError(`--size contains ${name} twice`);
      return [name, Number(n)];
    }),
  );
}
