import { fileURLToPath } from 'node:url';
import { ConfigError, type ConfigIn, type KindModule, namesOf } from '@onnxformers/core';
import ts from 'typescript';
import { beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import { mlp, multiHead, preNorm, sine, zoo } from './index';

type Zoo = (typeof zoo)['blocks'][number];

describe('the registry of all blocks', () => {
  it('builds a config recursively', () => {
    const block = zoo.build('layer', {
      name: 'pre_norm',
      dim: 12,
      norm: 'rms_norm',
      mixer: { name: 'multi_head', heads: 3, attention: { name: 'local', window: 3 } },
      feedforward: { name: 'mlp', activation: 'silu' },
    });
    expectTypeOf(block).toEqualTypeOf<KindModule<'layer'>>();
    expect(zoo.toJSON(block)).toMatchObject({
      mixer: { attention: { name: 'local', window: 3 }, dim: 12 },
      feedforward: { hidden: 48 },
    });
  });

  it('has the same parameters by config and by hand', () => {
    const byHand = preNorm({ dim: 12, mixer: multiHead({ dim: 12, heads: 3 }), feedforward: mlp({ dim: 12 }) });
    const byConfig = zoo.build('layer', {
      name: 'pre_norm',
      dim: 12,
      mixer: { name: 'multi_head', heads: 3 },
      feedforward: 'mlp',
    });
    expect([...namesOf(byConfig).parameters.keys()]).toEqual([...namesOf(byHand).parameters.keys()]);
  });

  it('has one block of each kind and name, and a JSON Schema for each kind', () => {
    const names = zoo.blocks.map((b) => `${b.kind} ${b.blockName}`);
    expect(new Set(names).size).toBe(names.length);
    for (const kind of new Set(zoo.blocks.map((b) => b.kind))) {
      const { $defs } = zoo.jsonSchema(kind) as { $defs: Record<string, { anyOf: unknown[] }> };
      expect($defs[kind]!.anyOf.length).toBeGreaterThan(0);
    }
  });

  // Each line is refused by the compiler, and again when it runs.
  it('refuses wrong names, options, values and kinds', () => {
    // @ts-expect-error no such name
    expect(() => zoo.build('mixer', { name: 'multi_hed', dim: 4, heads: 2 })).toThrow(/did you mean "multi_head"/i);
    // @ts-expect-error no such option
    expect(() => zoo.build('feedforward', { name: 'mlp', dim: 4, hiden: 2 })).toThrow(/Did you mean "hidden"/);
    // @ts-expect-error a wrong value
    expect(() => zoo.build('feedforward', { name: 'mlp', dim: '4' })).toThrow(ConfigError);
    // @ts-expect-error a block of another kind in a slot
    expect(() => zoo.build('mixer', { name: 'multi_head', dim: 4, heads: 2, attention: 'mlp' })).toThrow(/no attention block/);
    // @ts-expect-error a module of another kind in a slot
    expect(() => zoo.build('mixer', { name: 'multi_head', dim: 4, heads: 2, attention: mlp({ dim: 4 }) })).toThrow(
      /another kind/,
    );
    // @ts-expect-error no such word
    expect(() => zoo.build('position', { name: 'sine', dim: 4, order: 'sideways' })).toThrow(/one of "interleaved", "halves"/);
    // @ts-expect-error a wrong option deep inside
    // biome-ignore format: the directive above speaks of one line
    const deep = () => zoo.build('layer', { name: 'pre_norm', dim: 4, mixer: { name: 'multi_head', heads: 2, attention: { name: 'local', windw: 3 } } });
    expect(deep).toThrow(/Did you mean "window"/);
    // @ts-expect-error by hand, what would be inherited must be given
    expect(() => sine({})).toThrow(/sine\.dim: missing/);
    // @ts-expect-error no such kind
    expect(() => zoo.build('mixers', { name: 'multi_head', dim: 4, heads: 2 })).toThrow(/Did you mean "mixer"/);
  });

  it('types what is required, inherited and optional', () => {
    type Causal = Extract<ConfigIn<Zoo, 'model'>, { name: 'causal_lm' }>;
    expectTypeOf<{ name: 'causal_lm'; stack: { name: 'stack'; layers: 'pre_norm' } }>().toExtend<Causal>();
    expectTypeOf<{ name: 'causal_lm' }>().not.toExtend<Causal>();
    expectTypeOf<Parameters<typeof mlp>[0]>().toExtend<{ readonly dim: number; readonly hidden?: number | undefined }>();
  });
});

describe('the editor', () => {
  const folder = fileURLToPath(new URL('.', import.meta.url));
  const file = `${folder}an-editor.ts`;
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    noEmit: true,
    customConditions: ['@onnxformers/source'],
    types: [],
    lib: ['lib.es2023.d.ts'],
  };
  let text = '';
  let version = 0;
  const service = ts.createLanguageService({
    getCompilationSettings: () => options,
    getScriptFileNames: () => [file],
    getScriptVersion: (name) => (name === file ? String(version) : '0'),
    getScriptSnapshot: (name) => {
      const content = name === file ? text : ts.sys.readFile(name);
      return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content);
    },
    getCurrentDirectory: () => folder,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: (name) => name === file || ts.sys.fileExists(name),
    realpath: (name) => (name === file ? name : ts.sys.realpath!(name)),
    readFile: ts.sys.readFile,
    readDirectory: ts.sys.readDirectory,
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
  });

  /** What the editor offers at the mark ‸. */
  function offered(code: string): string[] {
    const at = `import { zoo } from './index';\n${code}`;
    text = at.replace('‸', '');
    version++;
    return (service.getCompletionsAtPosition(file, at.indexOf('‸'), undefined)?.entries ?? []).map((e) => e.name);
  }

  beforeAll(() => void offered('‸'), 60_000);

  it('offers the names of blocks of a kind', () => {
    expect(offered("zoo.build('mixer', { name: '‸' });")).toEqual(expect.arrayContaining(['multi_head', 'fourier_mix']));
    expect(offered("zoo.build('mixer', { name: '‸' });")).not.toContain('mlp');
    const deep = "zoo.build('mixer', { name: 'multi_head', dim: 4, heads: 2, attention: { name: '‸' } });";
    expect(offered(deep).sort()).toEqual(expect.arrayContaining(['linformer', 'local', 'nystrom', 'scaled_dot_product']));
    expect(offered(deep)).not.toContain('multi_head');
  });

  it('offers the options of the block that is named', () => {
    const options = offered("zoo.build('feedforward', { name: 'mlp', dim: 4, ‸ });");
    expect(options).toEqual(expect.arrayContaining(['hidden', 'activation', 'bias']));
    expect(options).not.toContain('window');
    const inside = "zoo.build('layer', { name: 'pre_norm', mixer: { name: 'multi_head', attention: { name: 'local', ‸ } } });";
    expect(offered(inside)).toEqual(expect.arrayContaining(['window', 'causal']));
  });

  it('offers the words of a choice', () => {
    expect(offered("zoo.build('position', { name: 'sine', order: '‸' });")).toEqual(
      expect.arrayContaining(['halves', 'interleaved']),
    );
  });

  it('spends a bounded number of type instantiations on configs', () => {
    const layer =
      "{ name: 'pre_norm', mixer: { name: 'multi_head', heads: 3, attention: { name: 'nystrom', landmarks: 8 } }, feedforward: 'mlp' }";
    const model = `zoo.build('model', { name: 'causal_lm', dim: 12, vocabSize: 23, embedding: 'token', stack: { name: 'stack', depth: 2, layers: ${layer} } });`;
    const count = (code: string): number => {
      text = `import { zoo } from './index';\n${code}`;
      version++;
      const program = service.getProgram()! as ts.Program & { getInstantiationCount(): number };
      const checked = ts.createProgram({ rootNames: [file], options, oldProgram: program, host: hostOf(text) }) as typeof program;
      expect(
        checked
          .getSemanticDiagnostics(checked.getSourceFile(file))
          .map((d) => ts.flattenDiagnosticMessageText(d.messageText, ' ')),
      ).toEqual([]);
      return checked.getInstantiationCount();
    };
    const hostOf = (content: string): ts.CompilerHost => {
      const host = ts.createCompilerHost(options);
      const read = host.getSourceFile;
      host.getSourceFile = (name, target) =>
        name === file ? ts.createSourceFile(name, content, ts.ScriptTarget.ES2022) : read(name, target);
      host.fileExists = (name) => name === file || ts.sys.fileExists(name);
      return host;
    };
    const spent = count(model) - count('void zoo;');
    expect(spent).toBeGreaterThan(0);
    // The type of a config is a union over all blocks.
    expect(spent).toBeLessThan(500 * zoo.blocks.length);
  }, 60_000);
});
