import { conformance } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { zoo } from './index';

conformance(zoo.blocks, { describe, it, registry: zoo, snapshot: (names) => expect(names).toMatchSnapshot() });
