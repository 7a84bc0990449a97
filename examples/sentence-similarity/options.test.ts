import { ConfigError } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { parseOptions } from './options';
import { builtIn } from './sentences';

const messageOf = (...argv: string[]): string => {
  try {
    parseOptions(argv);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error('no error was thrown');
};

describe('options', () => {
  it('has defaults', () => {
    expect(parseOptions([])).toEqual({ sentences: builtIn, target: 'cpu', dtype: 'float32', help: false });
  });

  it('takes sentences and options in any order', () => {
    expect(parseOptions(['one', '--target', 'wasm', 'two', '--html=page.html', '--dtype', 'float16', '--', '--three'])).toEqual({
      sentences: ['one', 'two', '--three'],
      target: 'wasm',
      dtype: 'float16',
      html: 'page.html',
      help: false,
    });
    expect(parseOptions(['-h']).help).toBe(true);
  });

  it('reports what is wrong', () => {
    expect(messageOf('--target', 'cudda')).toBe(
      '--target: unknown value; expected cpu, wasm, webgpu, cuda, portable, got "cudda". Did you mean cuda?',
    );
    expect(messageOf('--target', 'gpu')).toMatch(
      /got "gpu"\. Did you mean cuda or webgpu\? cuda requires an NVIDIA GPU, .*ort-cuda\.mjs.* webgpu requires a GPU with a driver/,
    );
    expect(messageOf('--dtype', 'gpu')).toMatch(/got "gpu"$/);
    expect(messageOf('--dtype', 'int4')).toBe('--dtype: unknown value; expected float32, float16, got "int4"');
    expect(messageOf('--tarjet', 'cpu')).toContain("arguments: Unknown option '--tarjet'. Run with --help");
    expect(messageOf('--html')).toContain("arguments: Option '--html <value>' argument missing. Run with --help");
  });
});
