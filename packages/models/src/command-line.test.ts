// The command line of onnxformers on the folders of checkpoints.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { start } from '../../onnxformers/src/cli/start';

const folder = fileURLToPath(new URL('../fixtures/llama', import.meta.url));
const out = mkdtempSync(join(tmpdir(), 'checkpoint-'));
afterAll(() => rmSync(out, { recursive: true }));

async function cli(...args: string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ['', ''];
  const code = await start(args, { write: (t) => (out += t) }, { write: (t) => (err += t) });
  return { code, out, err };
}

it('builds a quantised model with what is needed to use it', async () => {
  const target = join(out, 'llama');
  const built = await cli('build', folder, '--quantize', 'int4,head=int8', '--block-size', '16', '--out', target);
  expect(built).toMatchObject({ code: 0, out: expect.stringContaining('for cpu in float32') });
  expect(readdirSync(target)).toEqual(
    expect.arrayContaining(['generation_config.json', 'model.onnx', 'onnxformers.json', 'tokenizer.json', 'weights.bin']),
  );
  expect((await cli('inspect', target)).out).toContain('MatMulNBits');
  // Its config alone would describe the model before quantization.
  expect((await cli('explain', target)).err).toContain('this model was not compiled from a config');
});

it('explains and inspects a checkpoint', async () => {
  const explained = await cli('explain', folder, '--quantize', 'int8', '--accuracy-level', '4');
  expect(explained.out).toContain('codes of 8 bits in blocks of 32; accuracy level 4');
  const plain = JSON.parse((await cli('inspect', folder, '--json')).out) as { parameters: number; bytes: number };
  expect(plain.bytes).toBe(4 * plain.parameters);
  const small = await cli('inspect', folder, '--quantize', 'int4');
  expect(small.out).toMatch(/llama, causal_lm: .* parameters/);
  expect(small.out).toMatch(/head\.weight .*int4 in blocks of 32, error 0\.0\d+ +from lm_head\.weight/);
  expect((await cli('summary', folder, '--task', 'base')).code).toBe(0);
});

it('refuses options that have no effect', async () => {
  const of = async (...args: string[]) => (await cli(...args)).err;
  expect(await of('build', folder, '--seed', '1', '--out', join(out, 'x'))).toContain('--weights and --seed exclude it');
  expect(await of('explain', folder, '--quantize', 'head=int8')).toContain('--quantize requires int4 or int8 once');
  expect(await of('explain', folder, '--zero-points')).toContain('require --quantize');
  expect(await of('explain', folder, '--quantize', 'int5')).toContain('--quantize must be int4, int8, or a role and its format');
});
