// The decisions of lowering for a model, and its costs.
export {
  type ExplainedBlock,
  type ExplainedOp,
  type ExplainOptions,
  type Explanation,
  explain,
} from './explain';
export { type Footprint, type FootprintOptions, footprint } from './footprint';
export { printExplanation } from './print';
export { printSummary } from './print-summary';
export { type Summary, type SummaryRow, summary } from './summary';
