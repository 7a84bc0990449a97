// The data of a mask as inputs of a graph with symbolic sizes, so that one session serves masks of the same kind and any sizes.
import { ConfigError, type Dim, describe, type Mask, type Tensor, type Value } from '@onnxformers/core';
import { derive, mapMask, maskKinds } from '@onnxformers/core/lowering';

/** The sizes of an attention, as the inputs name them. */
export interface NamedSizes {
  readonly batch: Dim;
  readonly heads: Dim;
  readonly seq: Dim;
  readonly kvSeq: Dim;
}

/** An input of a graph with its feed. */
export interface FedInput<T = Tensor> {
  readonly feed: T;
  readonly dims: readonly Dim[];
}

/** A mask whose data are the names of inputs. */
export interface MaskInputs {
  readonly mask: Mask<string>;
  readonly inputs: ReadonlyMap<string, FedInput>;
  /** Inputs with lengths, of which the mask reads the sums, and the number of rows to which they add up. */
  readonly summed: ReadonlyMap<string, Dim>;
}

/**
 * Names the data of a mask.
 *
 * Throws   ConfigError for a class of masks whose data have unknown axes
 */
export function nameMask(mask: Mask<Tensor>, sizes: NamedSizes, lengthsOf: ReadonlyMap<Tensor, Tensor>): MaskInputs {
  const names = new Map<Tensor, string>();
  const inputs = new Map<string, FedInput>();
  const summed = new Map<string, Dim>();
  const packed = maskKinds(mask).includes('documents');
  const visit = (m: Mask<Tensor>): Mask<string> => {
    const operands = Object.entries(m.operands).map(([operand, t]) => {
      const known = names.get(t);
      if (known !== undefined) return [operand, known] as const;
      const lengths = lengthsOf.get(t);
      const name = `${m.class.name}_${lengths ? operand.replace(/offsets/i, 'lengths') : operand}_${inputs.size}`;
      names.set(t, name);
      if (lengths) summed.set(name, operand === 'offsets' ? sizes.seq : sizes.kvSeq);
      inputs.set(
        name,
        lengths ? { feed: lengths, dims: ['sequences'] } : { feed: t, dims: dimsOf(m, operand, t, sizes, packed) },
      );
      return [operand, name] as const;
    });
    return { ...m, operands: Object.fromEntries(operands), parts: m.parts.map(visit) };
  };
  return { mask: visit(mask), inputs, summed };
}

function dimsOf(m: Mask<Tensor>, operand: string, { dims }: Tensor, sizes: NamedSizes, packed: boolean): readonly Dim[] {
  const { batch, heads, seq, kvSeq } = sizes;
  switch (m.class.name) {
    case 'documents':
      return [operand === 'keyLengths' ? 'sequences' : 'sequences + 1'];
    case 'lengths':
    case 'keyStarts':
    case 'prefix':
      return [packed ? 'sequences' : batch];
    case 'keyPadding':
      return [batch, kvSeq];
    case 'documentIds':
    case 'global':
      return [batch, operand === 'keys' ? kvSeq : seq];
    case 'dense':
      return dims.map((d, i) => (d === 1 ? 1 : [batch, heads, seq, kvSeq][4 - dims.length + i]!));
    case 'blocks':
      return [dims[0] === 1 ? 1 : heads, 'query_blocks', 'key_blocks'];
    default:
      throw new ConfigError({
        path: 'memoryEfficientAttention.attnBias',
        problem: `the axes of the data of a mask ${m.class.name} are not known`,
        expected: 'a mask of the library, or one without data',
        got: describe(m.operands),
        hint: 'Compile a module that calls xops.memoryEfficientAttention with the mask',
      });
  }
}

/** The mask in the values of its inputs. */
export function maskOfInputs({ mask, summed }: MaskInputs, inputs: Readonly<Record<string, Value>>): Mask<Value> {
  return mapMask(mask, (name) => {
    const [value, rows] = [inputs[name]!, summed.get(name)];
    // Derived from an input: kernels of packed sequences read the lengths.
    return rows === undefined ? value : derive(value.graph, 'offsets', { dtype: 'int64', dims: ['sequences + 1'] }, [value]);
  });
}
