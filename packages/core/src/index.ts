export {
  ConfigError,
  describe,
  type Fault,
  FeedError,
  FileError,
  LoweringError,
  nearest,
  OnnxformersError,
  RunError,
  ShapeError,
  WeightError,
} from './error';
export type { DType, NDArray, Tensor, TensorData } from './tensor';
