// Fetches the CUDA and TensorRT provider libraries for the installed onnxruntime-node: `node scripts/ort-cuda.mjs`, once, on a
// linux/x64 machine that reaches NuGet. Installing the workspace never does this, so that it needs no network beyond npm's.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.error(`onnxruntime-node has a CUDA provider for linux/x64 only; this is ${process.platform}/${process.arch}.`);
  process.exit(1);
}
const manifest = createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
const folder = dirname(manifest);
const provider = join(folder, 'bin', 'napi-v6', 'linux', 'x64', 'libonnxruntime_providers_cuda.so');
const { status } = spawnSync(process.execPath, [join(folder, 'script', 'install.js'), '--onnxruntime-node-install'], {
  stdio: 'inherit',
});
if (status !== 0 || !existsSync(provider)) {
  console.error(
    `No CUDA provider was installed: expected ${provider}. The download comes from NuGet; is it reachable from here?`,
  );
  process.exit(status || 1);
}
console.log(`Installed ${provider}`);
