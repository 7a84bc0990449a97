// Parameters computed from others: low-rank updates, quantised blocks, weight normalisation. Blocks do not notice.
import { checkArguments } from '../arguments';
import { ConfigError, describe } from '../error';
import type { GraphBuilder, Value } from '../ir/graph';
import type { Parameter } from '../parameter/parameter';
import { type AnyModule, graphOf, module, namesOf } from './module';

/** How one parameter is computed. */
export interface Parametrization {
  /** The parameters it is computed from. Their names in a checkpoint are relative to the same module: `q_proj.weight` with `lora_a` reads `q_proj.lora_a`. */
  readonly parameters: Readonly<Record<string, Parameter>>;
  /** True if the original parameter is no longer used: it is then neither stored nor required from a checkpoint. */
  readonly replaces?: boolean;
  /** The value that replaces it; `weight` returns the original one. */
  value(weight: () => Value, g: GraphBuilder): Value;
}

/**
 * The same module with some parameters computed from others.
 *
 *     W' = W + B A     (LoRA)
 *
 * Throws   ConfigError when no parameter is selected, or a new name already exists
 * Source   LoRA: Hu et al. 2021, https://arxiv.org/abs/2106.09685
 *
 * Example  const tuned = reparametrize(block, (path, p) => (p.options.role === 'query' && p.dims.length === 2 ? lora(p, { rank: 8 }) : undefined));
 */
export function reparametrize<M extends AnyModule>(
  m: M,
  select: (path: string, parameter: Parameter) => Parametrization | undefined,
): M {
  checkArguments('reparametrize', { module: m, select });
  const { parameters } = namesOf(m);
  const parametrizations = new Map<Parameter, Parametrization>();
  const added: Record<string, Parameter> = {};
  for (const [path, p] of parameters) {
    const parametrization = select(path, p);
    if (!parametrization) continue;
    parametrizations.set(p, parametrization);
    const beside = path.slice(0, path.lastIndexOf('.') + 1);
    for (const [name, extra] of Object.entries(parametrization.parameters)) {
      const full = beside + name;
      if (parameters.has(full) || full in added)
        throw new ConfigError({
          path: full,
          problem: 'a parameter of this name exists already',
          hint: 'Choose another name for the new parameter',
        });
      added[full] = extra;
    }
  }
  if (!parametrizations.size)
    throw new ConfigError({
      path: 'reparametrize',
      problem: 'no parameter was selected',
      got: describe([...parameters.keys()]),
      hint: 'Select by path, role or dims',
    });
  const forward = (...args: unknown[]) => {
    const g = graphOf(args)!;
    for (const [p, parametrization] of parametrizations)
      g.overrides.set(p, {
        value: () => parametrization.value(() => g.storedParam(p), g),
        replaces: parametrization.replaces ?? false,
      });
    return m.forward(...args);
  };
  const dropped = new Set([...parametrizations].filter(([, r]) => r.replaces).map(([p]) => p));
  return module({ ...m.children, ...added }, forward, { ...m.about, dropped }) as unknown as M;
}
