/** The stage server as a process, with the embedded model: flags, the ready line, signals. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Size } from '../../src/numerics/grid.ts';
import { type ModelFacts, modelList } from '../../src/stage/contract.ts';
import { call, evenSigmas, finish, freshId, messages, put, readUntil, stageBody, type Target } from './requests.ts';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function launch(flags: readonly string[], env: Record<string, string> = { STAGE_TOKEN: 'secret' }) {
  const child = spawn(process.execPath, ['containers/onnx/main.ts', ...flags], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const said = { stdout: '', stderr: '' };
  child.stderr.on('data', (chunk) => {
    said.stderr += chunk;
  });
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    said.stdout += `${line}\n`;
  });
  return {
    child,
    said,
    firstLine: once(lines, 'line').then(([line]) => String(line)),
    exit: once(child, 'exit').then(([code]) => code as number | null),
  };
}

async function launched(flags: readonly string[]) {
  const process = launch(flags);
  const url: string = JSON.parse(await process.firstLine).url;
  const target: Target = { url, token: 'secret' };
  const [facts] = modelList.parse(await (await call(target, 'GET', 'v1/models')).json()).models;
  return { ...process, target, facts: facts as ModelFacts };
}

describe('the process', () => {
  test.each(['native', 'wasm'])(
    'prints one ready line, answers with the %s engine, logs no prompt, and leaves at once when idle',
    async (engine) => {
      const { target, facts, child, exit, said } = await launched([
        '--port',
        '0',
        '--engine',
        engine,
        '--threads',
        '1',
      ]);
      const { done } = await finish(
        await put(target, freshId(), stageBody(facts, { sigmas: [1, 0], options: { prompt: 'an apple' } })),
      );
      expect(done.engine).toMatch(
        engine === 'native' ? /^onnxruntime-node.* threads=1$/ : /^onnxruntime-web.* threads=1$/,
      );
      child.kill('SIGTERM');
      expect(await exit).toBe(0);
      expect(said.stdout).toBe(`${JSON.stringify({ event: 'ready', url: target.url })}\n`);
      const log = said.stderr
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(log.map(({ event }) => event)).toEqual(['loaded', 'stage', 'draining']);
      expect(said.stderr).not.toMatch(/apple|secret/);
    },
  );

  test.each(['native', 'wasm'])(
    'sends a result before its late preview is decoded, though the %s engine takes the thread for it',
    async (engine) => {
      const { target, facts } = await launched(['--port', '0', '--engine', engine, '--threads', '1']);
      const size = facts.sizes.toSorted((a, b) => b.width * b.height - a.width * a.height)[0] as Size;
      const preview = { format: 'png', longest_side: 1024 };
      const options = { decode: 'clean', rgb: false, preview, late_preview: true };
      const shape = { layout: 'full', size, sigmas: [1, 0.5], options } as const;
      const reader = messages(await put(target, freshId(), stageBody(facts, shape)));
      await readUntil(reader, 'done');
      const begin = performance.now();
      const { event } = await readUntil(reader, 'preview');
      const apart = performance.now() - begin;
      // half of it: this process may have been slow to read the result
      if (event.event === 'preview') expect(apart).toBeGreaterThan(event.decode_ms / 2);
    },
  );

  test('finishes the running stage after SIGTERM, sends its last byte, then exits 0', async () => {
    const { target, facts, child, exit } = await launched(['--port', '0']);
    const reader = messages(await put(target, freshId(), stageBody(facts, { sigmas: evenSigmas(50) })));
    await readUntil(reader, 'step');
    child.kill('SIGTERM');
    expect((await readUntil(reader, 'done')).tensors.latents?.shape[0]).toBeGreaterThan(0);
    expect(await exit).toBe(0);
  });

  test('exits at once at a second signal', async () => {
    const { target, facts, child, exit, said } = await launched(['--port', '0']);
    const reader = messages(await put(target, freshId(), stageBody(facts, { sigmas: evenSigmas(900) })));
    await readUntil(reader, 'step');
    child.kill('SIGINT');
    // two signals that wait for one step to end are one
    await vi.waitFor(() => expect(said.stderr).toContain('draining'), { timeout: 20_000 });
    child.kill('SIGINT');
    expect(await exit).toBe(1);
    await expect(readUntil(reader, 'done')).rejects.toThrow();
  });

  test('says so when its port is taken', async () => {
    const { target } = await launched(['--port', '0']);
    const second = launch(['--port', new URL(target.url).port]);
    expect(await second.exit).toBe(1);
    expect(second.said.stderr).toContain('EADDRINUSE');
  });

  test.each([
    ['an unknown flag', ['--prot', '1'], 2, /--prot/],
    ['a port that is no port', ['--port', '70000'], 2, /--port is 70000, expected a whole number from 0 to 65535/],
    ['no threads', ['--threads', '0'], 2, /--threads is 0/],
    ['an unknown engine', ['--engine', 'steam'], 2, /--engine is steam, expected one of auto, native, wasm/],
    ['an unknown device', ['--device', 'tpu'], 2, /--device is tpu/],
    ['no token', ['--token-env', 'NO_SUCH_VARIABLE'], 2, /NO_SUCH_VARIABLE holds no token/],
    ['a folder without a model', ['--port', '0', '--models', 'docs'], 1, /docs: holds no model/],
  ])('refuses %s', async (_, flags, code, says) => {
    const { exit, said } = launch(flags);
    expect(await exit).toBe(code);
    expect(said.stderr).toMatch(says);
    expect(said.stdout).toBe('');
  });
});
