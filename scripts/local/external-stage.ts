/** A stage server that somebody else started: how it is named on a command line, and waiting until it is ready. */
import { setTimeout as pause } from 'node:timers/promises';
import { type ModelList, modelList, stageProblem } from '../../src/stage/contract.ts';
import { readAtMost } from '../../src/stage/read-at-most.ts';
import { UsageError } from './command-line.ts';

export interface ExternalStage {
  /** without a slash at its end */
  readonly url: string;
  readonly token: string;
}

/** The flags that name one, for `readFlags`. */
export const STAGE_FLAGS = { stage: { type: 'string' }, 'stage-token': { type: 'string' } } as const;

/**
 * The stage server that `--stage` names; null where none is. The token is that of `--stage-token`, or the environment's
 * STAGE_TOKEN. Throws UsageError.
 */
export function parseStage(
  { stage, 'stage-token': token, engine }: Readonly<Partial<Record<'stage' | 'stage-token' | 'engine', string>>>,
  env: Readonly<Record<string, string | undefined>>,
): ExternalStage | null {
  if (stage === undefined) {
    if (token !== undefined) throw new UsageError('--stage-token is the token of the server that --stage names');
    return null;
  }
  if (engine !== undefined)
    throw new UsageError('--engine is for the stage server started here; with --stage there is none');
  const url = parseAddress('--stage', stage);
  const known = token ?? env.STAGE_TOKEN;
  if (known === undefined || known === '')
    throw new UsageError(
      '--stage needs the token of the server: --stage-token or the environment variable STAGE_TOKEN',
    );
  return { url, token: known };
}

/** An http or https address, without a slash at its end. Throws UsageError. */
export function parseAddress(flag: string, text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new UsageError(`${flag} must be an http or https address, got "${text}"`);
  return text.replace(/\/+$/, '');
}

/** The stage server cannot be used: one sentence says why, and what to look at. */
export class StageUnusable extends Error {
  override name = 'StageUnusable';
}

/** How long a server may load its model; weights that are downloaded first take longer. */
const STARTING_MS = 15 * 60_000;
/** How long a server may take until it listens: it may have been started a moment ago. */
const LISTENING_MS = 10_000;
const ANSWER_MS = 10_000;
const PAUSE_MS = 1000;
const SAY_EVERY_MS = 15_000;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * What a stage server says of itself, once it is ready. A server that does not listen yet is waited for, for
 * `listeningMs` at most; one that answers `starting` for `startingMs`, and `say` is told so now and then. Throws
 * StageUnusable when it cannot be reached, refuses the token, is no stage server, has no model, or is not ready in
 * time; what `signal` says when that ends the wait.
 */
export async function reachStage(
  { url, token }: ExternalStage,
  {
    say,
    startingMs = STARTING_MS,
    listeningMs = LISTENING_MS,
    signal = new AbortController().signal,
  }: {
    readonly say: (sentence: string) => void;
    readonly startingMs?: number;
    readonly listeningMs?: number;
    readonly signal?: AbortSignal;
  },
): Promise<ModelList> {
  const began = performance.now();
  let said = Number.NEGATIVE_INFINITY;
  for (;;) {
    const list = await ask(url, token, signal);
    const waited = performance.now() - began;
    if (list instanceof StageUnusable) {
      if (waited > listeningMs) throw list;
      await pause(Math.min(PAUSE_MS, listeningMs), undefined, { signal });
      continue;
    }
    if (list !== 'starting') return list;
    if (waited > startingMs)
      throw new StageUnusable(
        `the stage server at ${url} has been starting for ${Math.round(waited / 1000)} s; its own output says what it is doing`,
      );
    if (waited - said >= SAY_EVERY_MS) {
      said = waited;
      say(`the stage server at ${url} is starting; waiting at most ${Math.round(startingMs / 60_000)} min`);
    }
    await pause(Math.min(PAUSE_MS, startingMs), undefined, { signal });
  }
}

/** Its models, or that it is starting; the error where nobody answers. Throws what waiting would not help. */
async function ask(url: string, token: string, ended: AbortSignal): Promise<ModelList | 'starting' | StageUnusable> {
  const signal = AbortSignal.any([ended, AbortSignal.timeout(ANSWER_MS)]);
  let response: Response;
  let bytes: Uint8Array | null;
  try {
    const headers = { authorization: `Bearer ${token}` };
    response = await fetch(`${url}/v1/models`, { headers, signal, redirect: 'manual' });
    bytes = await readAtMost(response.body, MAX_BYTES, signal);
  } catch (error) {
    ended.throwIfAborted();
    const { cause, message } = error as Error & { cause?: { code?: string; message?: string } };
    return new StageUnusable(
      `no stage server answers at ${url} (${cause?.code ?? cause?.message ?? message}): is it running, and are host and port right?`,
    );
  }
  const body = parse(bytes);
  const problem = stageProblem.safeParse(body);
  const code = problem.success ? problem.data.code : null;
  if (response.status === 503 && code === 'starting') return 'starting';
  if (response.status === 503 && code === 'draining')
    throw new StageUnusable(`the stage server at ${url} is shutting down`);
  if (response.status === 401 && code !== null)
    throw new StageUnusable(
      `the stage server at ${url} refuses this token: it must be the one that the server was started with`,
    );
  if (!response.ok)
    throw new StageUnusable(
      `${url} answered ${response.status}, and not as a stage server does: is it the address of one, and what stands before it?`,
    );
  const list = modelList.safeParse(body);
  if (!list.success) {
    const [issue] = list.error.issues;
    throw new StageUnusable(
      `what ${url} says of its models is not the stage contract: ${issue?.path.join('.')} ${issue?.message}`,
    );
  }
  if (list.data.models.length === 0) throw new StageUnusable(`the stage server at ${url} has no model`);
  return list.data;
}

function parse(bytes: Uint8Array | null): unknown {
  try {
    return bytes && JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}
