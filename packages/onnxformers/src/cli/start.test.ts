// Command lines, right and wrong, and what is printed where.
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { cli, dir, here, lm, main, nodeFlags, parsed, write } from './cli.test-helper';
import { start } from './start';

describe('usage', () => {
  it('without a command: all of them', async () => {
    const { code, out } = await cli();
    expect(code).toBe(0);
    for (const name of [
      'info',
      'build CONFIG',
      'explain CONFIG|DIR',
      'summary CONFIG|DIR',
      'inspect FILE|DIR',
      'run DIR',
      'schema KIND',
      'bench attention',
      'bench block [CONFIG|NAME]',
      'bench model CONFIG',
      'bench varlen',
      'bench compare A.json B.json',
    ])
      expect(out).toContain(`  ${name} `);
    expect(out).toContain(
      'Exit codes: 0 done, 1 an error in the input, 2 a wrong command line, 70 an internal error of onnxformers, 128 + N ended by signal N.',
    );
  });

  it.each([
    [['bild'], 'there is no command "bild"; did you mean build? Commands: info, build'],
    [['--quiet', 'info'], 'the command comes before options such as --quiet. Commands: info, build'],
    [['build'], 'build requires CONFIG'],
    [['build', 'a.json', 'b.json', '--out', 'x'], 'build takes CONFIG; "b.json" is too much'],
    [['build', 'a.json', '--seed', '1'], '--out is required: the folder to save to'],
    [['build', 'a.json', '--out', 'x', '--targt', 'cpu'], 'build has no option --targt; did you mean target?'],
    [
      ['build', 'a.json', '--out', 'x', '--target', 'cud'],
      '--target must be one of cpu, cuda, webgpu, wasm, portable-18, portable-21, portable-23, portable, got "cud"; did you mean cuda?',
    ],
    [['build', 'a.json', '--out', 'x', '--seed', 'one'], '--seed must be an integer, got "one"'],
    [['build', 'a.json', '--out', '--seed', '1'], '--out requires a value (DIR)'],
    [['build', 'a.json', '--out', '', '--seed', '1'], '--out is empty'],
    [
      ['build', 'a.json', '--out', 'x', '--assumptions', 'prefill in empty cache'],
      '--assumptions must be one of prefill into empty cache, no empty sequences, finite padding, got "prefill in empty cache"; did you mean prefill into empty cache?',
    ],
    [['build', 'a.json', '--out', 'x', '--cudnn', 'nine'], '--cudnn must be a version such as 9.14, or none, got "nine"'],
    [
      ['build', 'a.json', '--out', 'x', '--sm', '9'],
      '--sm must be a compute capability times ten: 80, 89, 90, 100, 120, got "9"',
    ],
    [['build', 'a.json', '--out', 'x', '--state', '0'], '--state must be io or a number of positions >= 1, got "0"'],
    [['build', 'a.json', '--out', 'x', '--seed', '99999999999999999999'], '--seed is too large: 99999999999999999999'],
    [['build', 'a.json', '--out', 'x', '--out', 'y'], '--out is given twice'],
    [['build', 'a.json', '--out', 'x', '--taps', ','], '--taps is empty'],
    [['summary', 'a.json', '--size', 'seq=3,seq=4'], '--size contains seq twice'],
    [
      ['bench', 'attenton'],
      'there is no command "bench attenton"; did you mean bench attention? Commands: bench attention, bench block, ',
    ],
    [
      ['bench'],
      'there is no command "bench". Commands: bench attention, bench block, bench model, bench varlen, bench zoo, bench compare',
    ],
    [['bench', 'block'], 'bench block requires CONFIG, NAME or --all'],
    [['bench', 'attention', '--few', '0'], '--few, --more and --repeat must be at least 1'],
    [['inspect', 'x', '--json=yes'], '--json is a flag and takes no value'],
  ])('wrong: %j', async (args, message) => {
    const { code, out, err } = await here(...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
    expect(err).toMatch(/onnxformers [\w ]*--help shows its options\.\n$/);
  });

  it('help of a command lists its options', async () => {
    const { code, out } = await cli('build', '--help');
    expect(code).toBe(0);
    expect(out).toMatch(/--out DIR +the folder to save to \(required\)/);
    expect(out).toMatch(/--dtype NAME +dtype of weights and arithmetic: float32, float16, bfloat16 \(default float32\)/);
    expect((await here('help', 'build')).out).toBe(out);
    expect((await cli('build')).code).toBe(2);
  });

  it('commands of two words have their help, and a list', async () => {
    const { code, out } = await here('help', 'bench', 'varlen');
    expect([code, out]).toEqual([0, expect.stringMatching(/^onnxformers bench varlen\n/)]);
    expect((await here('bench', 'varlen', '--help')).out).toBe(out);
    const all = (await here('bench', '--help')).out;
    expect(all).toMatch(/^ {2}bench varlen +Measures/m);
    expect(all).not.toMatch(/^ {2}build/m);
    expect((await here('bench', 'nothing', '--help')).code).toBe(2);
  });
});

describe('errors', () => {
  it('of the input are printed without a stack, and end with 1', async () => {
    await write('bad.json', { ...lm, dim: 'x' });
    const { code, err } = await cli('build', 'bad.json', '--seed', '1', '--out', 'bad');
    expect(code).toBe(1);
    expect(err).toBe('ConfigError: causal_lm.dim: wrong value; expected an integer >= 1, got "x". This option: channels\n');
    expect(await readdir(dir)).not.toContain('bad');
  });

  it('with --debug show where', async () => {
    const { code, err } = await cli('inspect', 'nowhere.onnx', '--debug');
    expect(code).toBe(1);
    expect(err).toMatch(/^FileError: nowhere\.onnx: no such file or folder\nFileError: .*\n +at /);
  });

  it('are JSON with --json', async () => {
    const { code, error } = await parsed('schema', 'modle');
    expect(code).toBe(1);
    expect(error).toMatchObject({
      exitCode: 1,
      error: { name: 'ConfigError', path: 'kind', problem: 'no block of the kind "modle" is registered', got: '"modle"' },
    });
    expect(error.error.hint).toContain('Did you mean "model"?');
  });

  it('of our own end with 70', async () => {
    const out = {
      write: () => {
        throw new TypeError('broken');
      },
    };
    let said = '';
    const err = {
      write: (text: string) => {
        said += text;
      },
    };
    expect(await start(['schema', 'norm'], out, err)).toBe(70);
    expect(said).toBe('Internal error of onnxformers: broken\nRun it again with --debug and report what it prints.\n');
  });
});

describe.skipIf(process.platform === 'win32')('what a shell does (not on Windows, which has no signals)', () => {
  const running = (...args: string[]) => {
    const child = spawn(process.execPath, [...nodeFlags, main, ...args], { cwd: dir });
    let err = '';
    child.stderr.on('data', (text) => {
      err += text;
    });
    const ended = new Promise<{ code: number | null; err: string }>((resolve) => {
      child.on('close', (code) => resolve({ code, err }));
    });
    return { child, ended };
  };

  it('Ctrl-C while a model is saved leaves no incomplete files', async () => {
    await write('big.json', { ...lm, dim: 768, vocabSize: 30_011 });
    const { child, ended } = running('build', 'big.json', '--seed', '1', '--out', 'big');
    const saving = async () => (await readdir(join(dir, 'big')).catch(() => [])).some((name) => name.startsWith('.saving'));
    while (child.exitCode === null && !(await saving())) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGINT');
    expect(await ended).toEqual({ code: 130, err: 'Interrupted: ended by SIGINT; nothing half-written is left\n' });
    expect(await readdir(dir)).not.toContain('big');
  });

  it('a reader that closes the output early is not an error', async () => {
    const { child, ended } = running('schema', 'model');
    child.stdout.destroy();
    expect(await ended).toEqual({ code: 0, err: '' });
  });
});

describe('progress', () => {
  const build = async (isTTY: boolean, columns = 30) => {
    await write('lm.json', lm);
    let [out, err] = ['', ''];
    const streams = [
      {
        write: (t: string) => {
          out += t;
        },
      },
      {
        isTTY,
        columns,
        write: (t: string) => {
          err += t;
        },
      },
    ] as const;
    const code = await start(['build', join(dir, 'lm.json'), '--seed', '1', '--out', join(dir, 'progress')], ...streams);
    return { code, out, err };
  };

  it('is one line of a terminal that vanishes', async () => {
    const { code, out, err } = await build(true);
    expect(code).toBe(0);
    expect(err).toContain('compiling …');
    expect(err).toContain('saving');
    expect(err.endsWith('\r\u001b[K')).toBe(true);
    for (const line of err.split('\r\u001b[K')) expect(line.length).toBeLessThan(30);
    expect(out).not.toContain('\u001b');
  });

  it('is complete on a terminal of unknown width', async () => {
    expect((await build(true, 0)).err).toContain('compiling …');
  });

  it('prints nothing without a terminal, and on a terminal that cannot erase', async () => {
    expect((await build(false)).err).toBe('');
    vi.stubEnv('TERM', 'dumb');
    expect((await build(true)).err).toBe('');
    vi.unstubAllEnvs();
  });
});
