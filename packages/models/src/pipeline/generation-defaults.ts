// The settings of generation that come with a checkpoint.
import { type ConfigReader, configReader, parseJson } from '../config';
import { readFile } from '../files';
import type { Pretrained } from '../pretrained';

const name = 'generation_config.json';

/** The keys of `generation_config.json`; none if it is absent. */
export async function generationDefaults({ files }: Pretrained): Promise<ConfigReader> {
  const bytes = await readFile(files, name);
  return configReader(bytes ? parseJson(bytes, name) : {}, name);
}
