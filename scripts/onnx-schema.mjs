// Makes packages/core/src/onnx/gen/onnx_pb.ts from the onnx.proto beside it. Run it after changing that file; npx brings the tools.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const template = {
  version: 'v2',
  plugins: [{ local: 'protoc-gen-es', out: '.', opt: ['target=ts'] }],
};
const tools = ['-p', '@bufbuild/buf@1.75.0', '-p', '@bufbuild/protoc-gen-es@2.17.0'];
const { status } = spawnSync('npx', ['-y', ...tools, 'buf', 'generate', '--template', JSON.stringify(template)], {
  cwd: fileURLToPath(new URL('../packages/core/src/onnx/gen/', import.meta.url)),
  stdio: 'inherit',
});
process.exit(status ?? 1);
