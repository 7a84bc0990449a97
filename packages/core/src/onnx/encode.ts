// Writing models. The protobuf library writes everything except the elements of initializers, which it would copy once for every level of
// nesting. Their bytes are appended to the graph's message, which the format allows, without a copy.
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { FileError, internal, WeightError } from '../error';
import { printType } from '../ir/define-op';
import { counter, type OnProgress } from '../progress';
import { bytesOfTensor } from '../tensor/convert';
import { sharedBytes } from '../tensor/scratch';
import { bytesOf, countOf, type Tensor } from '../tensor/tensor';
import { GraphProtoSchema, ModelProtoSchema, type TensorProto, TensorProto_DataLocation, TensorProtoSchema } from './gen/onnx_pb';
import { requiredIrVersion } from './ir-version';
import { type ExternalData, type InitializerData, isExternal, type OnnxInitializer, type OnnxModel } from './model';
import { printBytes } from './print';
import { tensorHeader } from './tensor-proto';
import { toEntries, toGraphProto, toOpsets } from './to-proto';

/** Which initializers are in an external file, and how. */
export interface ExternalDataOptions {
  /** Its path relative to the model's folder. */
  readonly location: string;
  /** Smaller tensors, in bytes, stay in the model, where the runtime's shape inference finds them. Default 1024. */
  readonly minBytes?: number;
  /** Every tensor starts at a multiple of this many bytes. Default 4096, a page, so that a runtime can map it; 64 saves space. */
  readonly align?: 4096 | 64;
}

/** A model that is being encoded. Tensors are loaded one at a time, when they are written. */
export interface EncodedModel {
  /** Size of the model without external data. */
  readonly modelBytes: number;
  /** Size of the external data. */
  readonly externalBytes: number;
  /** The model's bytes; can be read again. */
  readonly model: AsyncIterable<Uint8Array>;
  /** The bytes of the external file; can be read again. */
  readonly external: AsyncIterable<Uint8Array>;
}

/** Maximum size of the result of {@link toBytes}, in bytes. The runtime refuses models in memory beyond 2 GiB, and one or two copies are always made. */
export const embedLimit = 2 ** 30;

const sizeOf = ({ dtype, dims }: OnnxInitializer): number => bytesOf(dtype, countOf(dims));

/** Loads and checks the elements of an initializer. */
async function* elementsOf(initializer: OnnxInitializer): AsyncGenerator<Uint8Array> {
  const { name, data } = initializer;
  const wrong = (expected: string, got: string): WeightError =>
    new WeightError({ path: `weight "${name}"`, problem: 'the loaded tensor does not match its declaration', expected, got });
  const loaded = typeof data === 'function' ? data() : data;
  if (Symbol.asyncIterator in loaded) {
    let bytes = 0;
    for await (const chunk of loaded) {
      bytes += chunk.byteLength;
      if (bytes > sizeOf(initializer)) break;
      if (chunk.byteLength > 0) yield chunk;
    }
    if (bytes !== sizeOf(initializer))
      throw wrong(`${sizeOf(initializer)} bytes`, `${bytes}${bytes > sizeOf(initializer) ? ' or more' : ''}`);
    return;
  }
  const tensor = (await loaded) as Tensor | ExternalData;
  if (isExternal(tensor)) throw internal(`initializer "${name}" is in ${tensor.location}, and its bytes are not loaded`);
  if (printType(tensor) !== printType(initializer)) throw wrong(printType(initializer), printType(tensor));
  const bytes = bytesOfTensor(tensor);
  if (bytes.byteLength !== sizeOf(initializer)) throw wrong(`${sizeOf(initializer)} bytes`, `${bytes.byteLength}`);
  if (bytes.byteLength > 0) yield bytes;
}

interface Placed {
  readonly initializer: OnnxInitializer;
  readonly where: ExternalData;
}

/** Assigns an offset in the external file to every initializer, in the order of the graph; initializers with the same data share one. */
function place(
  initializers: readonly OnnxInitializer[],
  { location, minBytes = 1024, align = 4096 }: ExternalDataOptions,
): Placed[] {
  let end = 0;
  const shared = new Map<InitializerData, Placed>();
  return initializers
    .filter((initializer) => !isExternal(initializer.data) && sizeOf(initializer) >= Math.max(1, minBytes))
    .map((initializer) => {
      const known = shared.get(initializer.data);
      if (known && printType(known.initializer) === printType(initializer)) return { initializer, where: known.where };
      const offset = Math.ceil(end / align) * align;
      end = offset + sizeOf(initializer);
      const placed = { initializer, where: { location, offset, length: end - offset } };
      shared.set(initializer.data, placed);
      return placed;
    });
}

/** One initializer for each offset. */
const written = (placed: readonly Placed[]): readonly Placed[] =>
  [...new Map(placed.toReversed().map((p) => [p.where, p])).values()].toReversed();

// Offsets are decimal strings in the format, so the size of the file is not limited.
const toReference = (initializer: OnnxInitializer, { location, offset, length }: ExternalData): TensorProto =>
  create(TensorProtoSchema, {
    ...tensorHeader(initializer.name, initializer),
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: Object.entries({ location, offset, length }).map(([key, value]) => ({ key, value: `${value}` })),
  });

/** The prefix of a message or of bytes: their field number and length. */
const opening = (field: { readonly number: number }, length: number): Uint8Array =>
  new BinaryWriter().tag(field.number, WireType.LengthDelimited).uint64(length).finish();

/** The bytes of an embedded initializer before its elements. */
function openingOf(initializer: OnnxInitializer): Uint8Array[] {
  const header = toBinary(TensorProtoSchema, create(TensorProtoSchema, tensorHeader(initializer.name, initializer)));
  const raw = opening(TensorProtoSchema.field.rawData, sizeOf(initializer));
  return [opening(GraphProtoSchema.field.initializer, header.byteLength + raw.byteLength + sizeOf(initializer)), header, raw];
}

const total = (chunks: readonly Uint8Array[]): number => chunks.reduce((n, c) => n + c.byteLength, 0);

/** An initializer below this size is loaded while the previous one is written. */
const aheadBytes = 2 ** 26;

async function* padded(placed: readonly Placed[]): AsyncGenerator<Uint8Array> {
  const streams = placed.map(({ initializer }) => elementsOf(initializer));
  let end = 0;
  let ahead: Promise<IteratorResult<Uint8Array>> | undefined;
  try {
    for (const [i, { where }] of placed.entries()) {
      if (where.offset > end) yield new Uint8Array(where.offset - end);
      let chunk = await (ahead ?? streams[i]!.next());
      const following = placed[i + 1]?.initializer;
      ahead = following && sizeOf(following) <= aheadBytes ? streams[i + 1]!.next() : undefined;
      ahead?.catch(() => undefined); // awaited when it is written
      for (; !chunk.done; chunk = await streams[i]!.next()) yield chunk.value;
      end = where.offset + where.length;
    }
  } finally {
    for (const stream of streams) await stream.return(undefined);
  }
}

function encode(model: OnnxModel, placed: readonly Placed[]): Pick<EncodedModel, 'modelBytes' | 'model'> {
  const irVersion = model.irVersion ?? requiredIrVersion(model);
  const places = new Map(placed.map(({ initializer, where }) => [initializer, where]));
  const outside: TensorProto[] = [];
  const inside: { initializer: OnnxInitializer; front: Uint8Array[] }[] = [];
  for (const initializer of model.graph.initializers) {
    const where = isExternal(initializer.data) ? initializer.data : places.get(initializer);
    if (where) outside.push(toReference(initializer, where));
    else inside.push({ initializer, front: openingOf(initializer) });
  }
  const { producer, doc, metadata } = model;
  const head = create(ModelProtoSchema, {
    irVersion: BigInt(irVersion),
    ...(producer && { producerName: producer.name, producerVersion: producer.version }),
    ...(doc && { docString: doc }),
    opsetImport: toOpsets(model.opsets),
    metadataProps: toEntries(metadata),
  });
  const graph = toBinary(GraphProtoSchema, toGraphProto(model.graph, irVersion, outside));
  const graphBytes = inside.reduce((n, { initializer, front }) => n + total(front) + sizeOf(initializer), graph.byteLength);
  const front = [toBinary(ModelProtoSchema, head), opening(ModelProtoSchema.field.graph, graphBytes), graph];
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield* front;
    for (const { initializer, front } of inside) {
      yield* front;
      yield* elementsOf(initializer);
    }
  }
  return { modelBytes: total(front) + graphBytes - graph.byteLength, model: { [Symbol.asyncIterator]: chunks } };
}

/**
 * A model as a stream of bytes; its large initializers are a second stream if `externalData` names a file for them, otherwise embedded.
 * Equal models are encoded as equal bytes. Initializers that are already in an external file stay there.
 *
 * @throws WeightError while it is read, when a lazy initializer does not match its declaration
 */
export function toChunks(model: OnnxModel, { externalData }: { readonly externalData?: ExternalDataOptions } = {}): EncodedModel {
  const placed = externalData ? place(model.graph.initializers, externalData) : [];
  const last = written(placed).at(-1)?.where;
  return {
    ...encode(model, placed),
    externalBytes: last ? last.offset + last.length : 0,
    external: { [Symbol.asyncIterator]: () => padded(written(placed)) },
  };
}

/** All chunks as one array; a single chunk is returned without a copy if it owns its whole buffer. */
async function joined(chunks: AsyncIterable<Uint8Array>, length: number, own = false): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  let end = 0;
  for await (const chunk of chunks) {
    if (chunk.byteLength === length && own) bytes = chunk;
    else {
      bytes ??= new Uint8Array(length);
      bytes.set(chunk, end);
      end += chunk.byteLength;
    }
  }
  return bytes ?? new Uint8Array();
}

/**
 * A model with all its initializers as one array of bytes.
 *
 * @throws FileError beyond 1 GiB
 * @throws WeightError when a lazy initializer does not match its declaration
 */
export async function toBytes(model: OnnxModel): Promise<Uint8Array> {
  const encoded = toChunks(model);
  if (encoded.modelBytes > embedLimit) {
    const hint = 'Save it to a folder instead, with the weights in a separate file.';
    const got = printBytes(encoded.modelBytes);
    throw new FileError({
      path: model.graph.name,
      problem: 'too large for one array of bytes',
      expected: `at most ${printBytes(embedLimit)}`,
      got,
      hint,
    });
  }
  return joined(encoded.model, encoded.modelBytes);
}

/** A model for a runtime in the same process. */
export interface ModelInMemory {
  readonly model: Uint8Array;
  /** The session option of this name. */
  readonly externalData: readonly { readonly path: string; readonly data: Uint8Array }[];
}

/**
 * A model of any size for a session in this process: every large initializer is passed as an external file in memory, and one that is already a
 * tensor is not copied.
 *
 * @throws WeightError when a lazy initializer does not match its declaration
 */
export async function toMemory(
  model: OnnxModel,
  { minBytes = 1024, onProgress }: { readonly minBytes?: number; readonly onProgress?: OnProgress } = {},
): Promise<ModelInMemory> {
  const together = place(model.graph.initializers, { location: '', minBytes });
  const apart = new Map(
    written(together).map(({ where }, i) => [where, { location: `weight-${i}`, offset: 0, length: where.length }]),
  );
  const placed = together.map(({ initializer, where }) => ({ initializer, where: apart.get(where)! }));
  const externalData = [];
  const files = written(placed);
  const read = counter(
    'weights',
    files.reduce((n, { where }) => n + where.length, 0),
    onProgress,
  );
  for (const { initializer, where } of files) {
    const own = typeof initializer.data !== 'function' || where.length > sharedBytes;
    externalData.push({ path: where.location, data: await joined(elementsOf(initializer), where.length, own) });
    read(where.length);
  }
  const { model: chunks, modelBytes } = encode(model, placed);
  return { model: await joined(chunks, modelBytes), externalData };
}
