// Models over lists of sequences of different lengths.
export type { EncoderSequence } from './axes';
export {
  createEncoder,
  type EncodeOptions,
  type EncodeReport,
  type Encoder,
  type EncoderLayout,
  type EncoderOptions,
} from './create-encoder';
export { type Packed, pack, type Sequence, unpack } from './pack';
