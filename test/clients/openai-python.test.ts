/** OpenAI's client in Python against the running stack. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Door, openDoor } from './doors.ts';
import { NO_PYTHON, runScript } from './python.ts';

const PNG = '89504e470d0a1a0a';

describe.skipIf(NO_PYTHON)('openai in Python, where RALU_CLIENTS_PYTHON names one', () => {
  let rig: Door;
  beforeAll(async () => {
    rig = await openDoor();
  });

  test('draws a picture, and streams two between', async () => {
    const said = await runScript('openai_images.py', rig.service);
    expect(said[0]).toEqual({ call: 'generate', png: PNG, seeds: [7] });
    const types = said.slice(1).map(({ type }) => type);
    expect(types.filter((type) => type === 'image_generation.partial_image')).toHaveLength(2);
    expect(types.at(-1)).toBe('image_generation.completed');
  });
});
