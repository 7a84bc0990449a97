// Feeds for the models of the probes.

export const arrays = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};
/** Numbers that every float dtype holds, and their bits in float16. */
const numbers = [1, -0.5, 0.25, -1, 0.75, -0.25, 1.5, -0.0625];
const halves = [0x3c00, 0xb800, 0x3400, 0xbc00, 0x3a00, 0xb400, 0x3e00, 0xac00];

const one = (type) => ({ int64: 1n, uint64: 1n, float16: 0x3c00 })[type] ?? 1;
function varied(type, i) {
  const at = ((i * i + 3 * i) % 11) % 8;
  if (type === 'float16') return halves[at];
  if (type.startsWith('float')) return numbers[at];
  return type.endsWith('64') ? BigInt(i % 2) : i % 2;
}

/** Tensors for every input of a session, 2 for sizes with a name: ones, or numbers of both signs that differ. */
export function feedsOf(ort, { inputMetadata }, kind) {
  return Object.fromEntries(
    inputMetadata.map(({ name, type, shape }) => {
      const dims = shape.map((d) => (typeof d === 'number' && d >= 0 ? d : 2));
      const count = dims.reduce((a, b) => a * b, 1);
      const data = arrays[type].from({ length: count }, (_, i) => (kind === 'ones' ? one(type) : varied(type, i)));
      return [name, new ort.Tensor(type, data, dims)];
    }),
  );
}

/** The elements of a tensor as numbers. */
export function numbersIn({ type, data }) {
  return Array.from(data, (x) => (type === 'float16' && data instanceof Uint16Array ? fromHalf(x) : Number(x)));
}
function fromHalf(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}
