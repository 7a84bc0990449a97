// Tools for testing blocks and ops; they need no test framework.

export { type Footprint, type FootprintOptions, footprint } from '../explain/footprint';
export { computeDerived } from '../sequence/derive';
export { type Comparison, compare, expectClose, printComparison, type Tolerance } from './close';
export { type ConformanceOptions, conformance } from './conformance';
export { derivedOf, type Example, exampleOf } from './example';
export { type LayoutsOptions, layouts } from './layouts';
export { type CaseInput, checkOp, checkOps, type OpCase, prepare, type ReadyCase } from './op-suite';
export { type ParityOptions, type ParityTarget, parity } from './parity';
export { randomNumbers } from './random';
export {
  checkOnRuntime,
  type LowerBlockOptions,
  lowerBlock,
  randomArray,
  randomParameters,
  runBlock,
  type TraceOptions,
  traceBlock,
} from './run-block';
export { type SizesOfZeroOptions, sizesOfZero } from './sizes-of-zero';
export { type SweepOptions, sweep } from './sweep';
export { typesOf, type Variant, variantsOf } from './variants';
