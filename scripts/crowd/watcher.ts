/** Who watches a job from its start to its end, with thumbnails wanted, through every cut. */
import { setTimeout as pause } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import type { Caller } from './caller.ts';
import type { Watched } from './seen-laws.ts';

const AGAIN_MS = 100;
const LAST = ['done', 'failed', 'cancelled'];

/** What was seen of a job, in at most `patienceMs`: connections that break are opened again where they broke. */
export async function watchThrough(caller: Caller, job: string, patienceMs: number): Promise<Watched> {
  const ids: number[] = [];
  const thumbnails: { isStored: boolean; bytes: number }[] = [];
  let last: string | null = null;
  const parserOf = () =>
    createParser({
      onEvent({ id, event = '', data }) {
        if (id !== undefined) ids.push(Number(id));
        if (event === 'thumbnail') {
          const { b64_json } = JSON.parse(data) as { b64_json: string };
          thumbnails.push({ isStored: id !== undefined, bytes: Buffer.from(b64_json, 'base64').length });
        } else last = event;
      },
    });
  const end = performance.now() + patienceMs;
  while (!LAST.includes(`${last}`) && performance.now() < end) {
    const parser = parserOf();
    const after = ids.at(-1);
    const signal = AbortSignal.timeout(Math.ceil(Math.max(1, end - performance.now())));
    try {
      const { ok, body } = await caller.call(`/v1/jobs/${job}/events`, {
        headers: after === undefined ? {} : { 'last-event-id': String(after) },
        signal,
      });
      if (ok && body) for await (const text of body.pipeThrough(new TextDecoderStream())) parser.feed(text);
    } catch {
      // it was cut, and goes on where it was
    }
    if (!LAST.includes(`${last}`)) await pause(AGAIN_MS);
  }
  return { job, ids, last, thumbnails };
}
