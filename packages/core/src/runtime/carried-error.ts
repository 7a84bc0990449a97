// Passes errors from one thread to another, with their class and data.
import {
  ConfigError,
  type ErrorDetails,
  FeedError,
  FileError,
  LoweringError,
  OnnxformersError,
  RunError,
  ShapeError,
  WeightError,
} from '../error';

const classes = { ConfigError, ShapeError, LoweringError, WeightError, FeedError, RunError, FileError } as const;

/** An error as plain data. */
export interface CarriedError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly fault?: ErrorDetails;
  readonly cause?: CarriedError;
}

/** An error as plain data; any other thrown value is converted to one. */
export function packError(error: unknown): CarriedError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  const about = {
    name,
    message,
    ...(stack !== undefined && { stack }),
    ...(cause instanceof Error && { cause: packError(cause) }),
  };
  if (!(error instanceof OnnxformersError)) return about;
  const { path, problem, expected, got, hint } = error;
  const fault = {
    path,
    problem,
    ...(expected !== undefined && { expected }),
    ...(got !== undefined && { got }),
    ...(hint !== undefined && { hint }),
  };
  return { ...about, fault };
}

/** The error that was packed. Its stack is that of the other thread. */
export function unpackError({ name, message, stack, fault, cause }: CarriedError): Error {
  const options = cause && { cause: unpackError(cause) };
  const known = fault && Object.hasOwn(classes, name) ? classes[name as keyof typeof classes] : undefined;
  const error = known ? new known(fault!, options) : Object.assign(new Error(message, options), { name });
  if (stack !== undefined) error.stack = stack;
  return error;
}
