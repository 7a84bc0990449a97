import { layouts } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { zoo } from './index';

layouts(zoo.blocks, { describe, it, registry: zoo, snapshot: (refused) => expect(refused).toMatchSnapshot() });
