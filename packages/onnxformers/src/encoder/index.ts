// Models over lists of sequences of different lengths.
export {
  createEncoder,
  type EncodeOptions,
  type EncodeReport,
  type Encoder,
  type EncoderLayout,
  type EncoderOptions,
  type EncoderSequence,
} from './create-encoder';
export { type Packed, pack, type Sequence, unpack } from './pack';
