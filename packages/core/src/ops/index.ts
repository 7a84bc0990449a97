// All families of ops.
export * from './einsum';
export * from './matmul';
export * from './movement';
export * from './shape';
