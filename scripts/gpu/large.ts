// Ops on tensors of more than 2³¹ elements on a GPU: which of them count their elements correctly. Each in a process of its own, because an illegal access ends it.
import { spawnSync } from 'node:child_process';
import * as ops from '../../packages/core/src/ops/index';
import {
  compile,
  createRunner,
  module,
  type Ort,
  type RunnerOptions,
  type Target,
  tensor,
  toArray,
  type Value,
} from '../../packages/onnxformers/src/index';
import { table } from './report';

/** 2³¹ + 2¹⁶ elements; half as wide to try the script without a GPU. */
const rows = process.env.DEVICE === 'cpu' ? 64 : 2 ** 16;
const columns = process.env.DEVICE === 'cpu' ? 35 : 2 ** 15 + 1;
/** Rows and columns that are compared. */
const at = { rows: [0, 1, rows / 2 - 1, rows - 2, rows - 1], columns: [0, 1, columns - 2, columns - 1] };

interface Case {
  /** From the column r % 7 [rows, 1] and the row c % 5 [1, columns], float16; rows and columns of the result are those of the large tensor, or fewer. */
  make(r: Value, c: Value): Value;
  /** The number at a row and a column. */
  expected(r: number, c: number): number;
}

const product = (r: Value, c: Value): Value => ops.matmul(r, c);
const cases: Readonly<Record<string, Case>> = {
  MatMul: { make: product, expected: (r, c) => (r % 7) * (c % 5) },
  Add: { make: ops.add, expected: (r, c) => (r % 7) + (c % 5) },
  'Add of two': { make: (r, c) => ops.add(product(r, c), product(r, c)), expected: (r, c) => 2 * (r % 7) * (c % 5) },
  Cast: { make: (r, c) => ops.cast(product(r, c), 'float32'), expected: (r, c) => (r % 7) * (c % 5) },
  Transpose: {
    make: (r, c) => ops.transpose(ops.transpose(product(r, c), [1, 0]), [1, 0]),
    expected: (r, c) => (r % 7) * (c % 5),
  },
  Pad: {
    make: (r, c) => ops.pad(product(r, c), { axes: [1], before: [1], after: [0] }),
    expected: (r, c) => (c ? (r % 7) * ((c - 1) % 5) : 0),
  },
  Slice: {
    make: (r, c) => ops.slice(product(r, c), { axes: [1], starts: [1], ends: [columns] }),
    expected: (r, c) => (r % 7) * ((c + 1) % 5),
  },
  'Slice of many': {
    make: (r, c) => ops.slice(ops.add(product(r, c), 0), { axes: [0], starts: [1], ends: [rows] }),
    expected: (r, c) => ((r + 1) % 7) * (c % 5),
  },
  Where: {
    make: (r, c) => {
      const x = product(r, c);
      return ops.where(ops.greater(x, 3), x, 0);
    },
    expected: (r, c) => ((r % 7) * (c % 5) > 3 ? (r % 7) * (c % 5) : 0),
  },
  Softmax: { make: (r, c) => ops.mul(ops.softmax(ops.mul(product(r, c), 0), 1), 1024), expected: () => 1024 / columns },
  ReduceSum: { make: (r, c) => ops.expand(ops.reduceMean(product(r, c), [1]), [rows, columns]), expected: (r) => 2 * (r % 7) },
  'MatMul of a large operand': {
    make: (r, c) =>
      ops.expand(ops.div(ops.matmul(product(r, c), ops.transpose(ops.div(c, 4), [1, 0])), columns), [rows, columns]),
    expected: (r) => ((r % 7) * 6) / 4,
  },
};

/** Runs one of them and prints how far its numbers are from the right ones. */
export async function runLarge({ ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions }): Promise<void> {
  const name = process.env.ONLY!;
  const { make, expected } = cases[name]!;
  const { mostElements: _, ...any } = target;
  const shown = (y: Value): Value =>
    ops.cast(
      [at.rows, at.columns].reduce(
        (x, places, axis) =>
          ops.gather(
            x,
            x.graph.root.constant(
              tensor(
                'int64',
                [places.length],
                places.map((n) => Math.min(n, Number(x.dims[axis]) - 1)),
              ),
            ),
            axis,
          ),
        y,
      ),
      'float32',
    );
  const m = module({}, ({ r, c }: Readonly<Record<string, Value>>) => ({ y: shown(make(r!, c!)) }));
  const model = compile(m, {
    target: any,
    machine: { runtime: '1.30.0', sm: 90 },
    dtype: 'float16',
    inputs: { r: ['float16', [rows, 1], 'data'], c: ['float16', [1, columns], 'data'] },
  });
  const run = await createRunner(model, ort, options);
  const list = (n: number, of: number): number[] => Array.from({ length: n }, (_, i) => i % of);
  const { y } = await run({
    r: tensor('float16', [rows, 1], list(rows, 7)),
    c: tensor('float16', [1, columns], list(columns, 5)),
  });
  const got = toArray(y!);
  const limits = name === 'Slice of many' ? [rows - 1, columns] : name === 'Slice' ? [rows, columns - 1] : [rows, columns];
  let worst = 0;
  at.rows.forEach((r, i) =>
    at.columns.forEach((c, j) => {
      const right = expected(Math.min(r, limits[0]! - 1), Math.min(c, limits[1]! - 1));
      const off = Math.abs(got.data[i * at.columns.length + j]! - right);
      worst = Math.max(worst, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
    }),
  );
  process.stdout.write(`@= ${JSON.stringify({ worst })}\n`);
  await run.dispose();
}

/** Prints what became of each. */
export function large(folder: string): void {
  const only = process.env.ONLY?.split(';') ?? Object.keys(cases);
  table([
    ['op', `largest error of ${at.rows.length * at.columns.length} numbers among ${rows * columns}`],
    ...only.map((name) => {
      const { stdout, stderr, status } = spawnSync(process.execPath, [process.argv[1]!, 'run-large', folder], {
        env: { ...process.env, ONLY: name },
        encoding: 'utf8',
        timeout: 60_000,
      });
      const found = /^@= (.*)$/m.exec(stdout ?? '')?.[1];
      return [
        name,
        found
          ? String((JSON.parse(found) as { worst: number }).worst)
          : `ended with ${status}: ${(stderr ?? '').replace(/\s+/g, ' ').slice(-250)}`,
      ];
    }),
  ]);
}
