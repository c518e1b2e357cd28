/** The body of a request, within limits of size, time and memory. */
import type { StageProblem } from '../../src/stage/contract.ts';

/** Bytes of one body and of all that are being read; milliseconds without a byte, and for all of one. */
export interface BodyLimits {
  readonly bytes: number;
  readonly bytesTogether: number;
  readonly idleMs: number;
  readonly totalMs: number;
}

/** Why a body was not read. */
export interface BodyRefusal {
  readonly status: 400 | 408 | 413 | 503;
  readonly problem: StageProblem;
}

export type ReadBody = { readonly ok: true; readonly body: Uint8Array } | ({ readonly ok: false } & BodyRefusal);

export interface Bodies {
  /**
   * The body; or `too_large`, by content-length before reading where that is there; `broken_body` where the client went
   * away, or with 408 where it fell silent; `queue_full` where too many are being read.
   */
  read(request: Request): Promise<ReadBody>;
}

const refuse = (status: BodyRefusal['status'], code: string, message: string): ReadBody => ({
  ok: false,
  status,
  problem: { code, message },
});

/** Reads bodies, never holding more than the limits allow. A body without a length counts as the longest. */
export function createBodies({ bytes: most, bytesTogether, idleMs, totalMs }: BodyLimits): Bodies {
  let claimed = 0;
  const tooLarge = () => refuse(413, 'too_large', `the body is over the limit of ${most} bytes`);

  return {
    async read(request) {
      const said = request.headers.get('content-length');
      const claim = said === null ? most : Number(said);
      if (!(claim <= most)) return tooLarge();
      if (claimed + claim > bytesTogether) return refuse(503, 'queue_full', 'too many bodies are being read');
      claimed += claim;
      try {
        return await readWhole(request.body);
      } finally {
        claimed -= claim;
      }
    },
  };

  async function readWhole(stream: ReadableStream<Uint8Array> | null): Promise<ReadBody> {
    if (!stream) return { ok: true, body: new Uint8Array(0) };
    const reader = stream.getReader();
    const late = Promise.withResolvers<'late'>();
    const total = setTimeout(() => late.resolve('late'), totalMs);
    const idle = setTimeout(() => late.resolve('late'), idleMs);
    const chunks: Uint8Array[] = [];
    let length = 0;
    try {
      for (;;) {
        const read = await Promise.race([reader.read(), late.promise]);
        if (read === 'late')
          return refuse(408, 'broken_body', `the body did not come: nothing for ${idleMs / 1000} s, or too slowly`);
        if (read.done) return { ok: true, body: Buffer.concat(chunks, length) };
        idle.refresh();
        length += read.value.length;
        if (length > most) return tooLarge();
        chunks.push(read.value);
      }
    } catch {
      // the client went away: nobody hears the answer, and nothing was begun
      return refuse(400, 'broken_body', 'the body ended before it was complete');
    } finally {
      clearTimeout(total);
      clearTimeout(idle);
      void reader.cancel().catch(() => {}); // it has ended, is broken, or nobody wants the rest
    }
  }
}
