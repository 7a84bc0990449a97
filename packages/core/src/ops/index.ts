// All families of ops.
export * from './activation';
export * from './einsum';
export * from './matmul';
export * from './movement';
export * from './normalization';
export * from './shape';
