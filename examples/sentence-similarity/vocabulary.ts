// The tokenizer with the vocabulary of the package.
import { readSource } from './files';
import { createTokenizer, type Tokenizer, type Vocabulary } from './tokenizer';

/**
 * The tokenizer of the package's vocabulary.
 *
 * @throws FileError when `vocab.json` is missing or is not the expected file.
 */
export async function readTokenizer(folder?: string): Promise<Tokenizer> {
  return createTokenizer(JSON.parse((await readSource('vocab.json', folder)).toString('utf8')) as Vocabulary);
}
