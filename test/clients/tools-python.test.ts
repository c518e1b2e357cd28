/** Tools in Python that draw with OpenAI’s clients, and clients in Python for other services, on the running stack. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Door, openDoor } from './doors.ts';
import { NO_PYTHON, runScript } from './python.ts';

const PNG = '89504e470d0a1a0a';

describe.skipIf(NO_PYTHON)('in Python, where RALU_CLIENTS_PYTHON names one', () => {
  let rig: Door;
  beforeAll(async () => {
    rig = await openDoor();
  });

  test('LangChain’s and LlamaIndex’s tools as they come, what CrewAI’s asks, Together, Azure, and a base address without /v1', async () => {
    expect(await runScript('openai_tools.py', rig.service)).toEqual([
      { tool: 'langchain', size: [1024, 1024] },
      { tool: 'langchain dall-e-3', size: [1024, 1024] },
      { tool: 'llama_index', size: [1024, 1024] },
      { tool: 'llama_index download', size: [1024, 1024] },
      { tool: 'crewai dall-e-3', size: [1024, 1024] },
      { tool: 'crewai dall-e-2', size: [256, 256] },
      { tool: 'together', size: [512, 256] },
      { tool: 'azure', size: [256, 256] },
      { tool: 'azure', code: 'DeploymentNotFound' },
      { tool: 'models', listed: true },
      { tool: 'models', id: 'dall-e-3' },
      { tool: 'beside /v1', message: expect.stringContaining('the base address of this service ends in /v1') },
      { tool: 'hugging face', status: 400, message: expect.stringContaining('this address has OpenAI’s form') },
      { tool: 'hugging face', status: 404, message: expect.stringContaining('This service has OpenAI’s form') },
    ]);
  });

  test('LiteLLM', async () => {
    expect(await runScript('litellm_images.py', rig.service)).toEqual([
      { call: 'gpt-image-1', png: PNG },
      { call: 'dall-e-3', url: expect.stringMatching(/^http/) },
      { call: 'refused', message: expect.stringContaining('size') },
    ]);
  });

  test('webuiapi draws, reads what a picture says, sees how far it is, and stops it', async () => {
    const said = await runScript('webuiapi_images.py', rig.service);
    const [models, samplers, drawn, told, info, progress, long, refused] = said as readonly Record<string, never>[];
    expect(models).toMatchObject({ current: expect.any(String), titles: [models?.current] });
    expect(samplers).toMatchObject({
      names: ['AB2', 'Euler'],
      schedulers: expect.arrayContaining(['7x', 'automatic']),
    });
    const sizes = [
      [512, 512],
      [512, 512],
    ];
    expect(drawn).toMatchObject({ sizes, info: { seed: 7, all_seeds: [7, 8], steps: 4 } });
    expect(told?.warnings).toContain('sampler_name is ignored: the picture is made with Euler');
    expect(info).toEqual({ call: 'png_info', same: true, seed: '8' });
    expect(progress).toEqual({ call: 'progress', is_under_way: true, jobs: 1 });
    expect(long).toEqual({ call: 'long', error: '410' });
    expect(refused).toEqual({ call: 'refused', status: 422 });
  });
});
