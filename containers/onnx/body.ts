/** The body of a request, within limits of size, time and memory. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
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

/** A whole body, and the SHA-256 of it in hexadecimal digits. */
export interface Body {
  readonly bytes: Uint8Array;
  readonly digest: string;
}

export type ReadBody = ({ readonly ok: true } & Body) | ({ readonly ok: false } & BodyRefusal);

export interface Bodies {
  /**
   * The body; or `too_large`, by content-length before reading where that is there; `broken_body` where the client went
   * away, or with 408 where it fell silent; `queue_full` where too many are being read.
   */
  read(request: IncomingMessage): Promise<ReadBody>;
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
      const said = request.headers['content-length'];
      const claim = said === undefined ? most : Number(said);
      if (!(claim <= most)) return tooLarge();
      if (claimed + claim > bytesTogether) return refuse(503, 'queue_full', 'too many bodies are being read');
      claimed += claim;
      try {
        return await readWhole(request);
      } finally {
        claimed -= claim;
      }
    },
  };

  /** Straight from the connection: a web stream of it costs more than the stage's own rules. */
  function readWhole(request: IncomingMessage): Promise<ReadBody> {
    const { promise, resolve } = Promise.withResolvers<ReadBody>();
    const hash = createHash('sha256');
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (read: ReadBody): void => {
      clearTimeout(total);
      clearTimeout(idle);
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      // nobody wants the rest
      request.pause();
      resolve(read);
    };
    const onLate = () =>
      settle(refuse(408, 'broken_body', `the body did not come: nothing for ${idleMs / 1000} s, or too slowly`));
    const onData = (chunk: Buffer) => {
      idle.refresh();
      length += chunk.length;
      if (length > most) return settle(tooLarge());
      hash.update(chunk);
      chunks.push(chunk);
    };
    const onEnd = () => {
      const bytes = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length);
      settle({ ok: true, bytes, digest: hash.digest('hex') });
    };
    // the client went away: nobody hears the answer, and nothing was begun
    const onGone = () => settle(refuse(400, 'broken_body', 'the body ended before it was complete'));
    const total = setTimeout(onLate, totalMs);
    const idle = setTimeout(onLate, idleMs);
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    return promise;
  }
}
