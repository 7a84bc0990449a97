// The ops of xFormers for values of a graph, by their names there.
export { memoryEfficientAttention } from './attention';
export { layerNorm, type NormAndSum, rmsNorm, rmsNormAdd, swiglu } from './fused';
