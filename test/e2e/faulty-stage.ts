/**
 * A stage server's far side with faults: forwards to the real one, except where a fault is due. The only thing faked is
 * what a network and a broken server do.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decodeMessage, encodeMessage, type Message } from '../../src/stage/safetensors.ts';

/** What happens to one stage request instead of being forwarded whole. */
export type Fault =
  | { readonly kind: 'forward' }
  | { readonly kind: 'refuse' }
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string | Uint8Array;
    }
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** forwards all but the last `missing` bytes, then ends the body or breaks the connection */
  | { readonly kind: 'cut'; readonly missing: number; readonly how: 'end' | 'break' }
  | { readonly kind: 'hang'; readonly after: 'nothing' | 'headers' }
  /** forwards everything, but only when `until` is settled */
  | { readonly kind: 'hold'; readonly until: Promise<unknown> }
  /** rewrites the last message, `done` */
  | { readonly kind: 'spoil'; readonly spoil: (done: Message) => Message };

interface FarSide {
  readonly url: string;
  /** paths of the stage requests seen, in order, of those told to stop, and of those looked at */
  readonly seen: string[];
  readonly looked: string[];
  readonly deleted: string[];
  close(): Promise<void>;
}

export interface FaultyStage extends FarSide {
  /** the next stage requests meet these, then everything is forwarded again; `always` never ends */
  inject(faults: readonly Fault[], always?: Fault): void;
}

export interface FaultyStageByJob extends FarSide {
  /** the same for the stage requests of one job: they wait until this is said, and other jobs are not touched */
  meet(job: string, faults: readonly Fault[], always?: Fault): void;
  /** what every request for a thumbnail of a job meets: said before `meet` */
  meetLooks(job: string, fault: Fault): void;
}

const FORWARD: Fault = { kind: 'forward' };

/** What meets one request after the other. */
function script(faults: readonly Fault[], always: Fault = FORWARD): () => Fault {
  const left = [...faults];
  return () => left.shift() ?? always;
}

/** A far side whose faults meet whatever comes next. */
export async function startFaultyStage(realUrl: string): Promise<FaultyStage> {
  let next = script([]);
  const side = await serve(realUrl, () => next());
  return {
    ...side,
    inject(faults, always) {
      next = script(faults, always);
      side.seen.length = 0;
      side.deleted.length = 0;
      side.looked.length = 0;
    },
  };
}

/** A far side for many jobs at once, each with faults of its own. */
export async function startFaultyStageByJob(realUrl: string): Promise<FaultyStageByJob> {
  const scripts = new Map<string, PromiseWithResolvers<() => Fault>>();
  const scriptOf = (job: string): PromiseWithResolvers<() => Fault> => {
    const known = scripts.get(job) ?? Promise.withResolvers<() => Fault>();
    scripts.set(job, known);
    return known;
  };
  const looks = new Map<string, Fault>();
  const side = await serve(
    realUrl,
    async (job) => (await scriptOf(job).promise)(),
    (job) => looks.get(job) ?? FORWARD,
  );
  return {
    ...side,
    meet: (job, faults, always) => scriptOf(job).resolve(script(faults, always)),
    meetLooks: (job, fault) => void looks.set(job, fault),
  };
}

/** The job that a stage request belongs to: its id begins with the job's. */
const jobOf = (path: string): string => path.split('/')[3]?.split('.', 1)[0] ?? '';

async function bodyOf(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return new Uint8Array(Buffer.concat(chunks));
}

async function serve(
  realUrl: string,
  faultOf: (job: string) => Fault | Promise<Fault>,
  lookOf: (job: string) => Fault = () => FORWARD,
): Promise<FarSide> {
  const seen: string[] = [];
  const looked: string[] = [];
  const deleted: string[] = [];

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await bodyOf(request);
    const isStage = request.method === 'PUT';
    const path = request.url ?? '/';
    if (isStage) seen.push(path);
    if (request.method === 'DELETE') deleted.push(path);
    const isLook = request.method === 'GET' && path.endsWith('/thumbnail');
    if (isLook) looked.push(path);
    const fault = isStage ? await faultOf(jobOf(path)) : isLook ? lookOf(jobOf(path)) : FORWARD;
    switch (fault.kind) {
      case 'refuse':
        request.socket.destroy();
        return;
      case 'status':
        response.writeHead(fault.status, fault.headers).end(fault.body);
        return;
      case 'bytes':
        response.writeHead(200).end(fault.bytes);
        return;
      case 'hang':
        if (fault.after === 'headers') response.writeHead(200).flushHeaders();
        return;
    }
    const real = await fetch(new URL(path, realUrl), {
      method: request.method ?? 'GET',
      headers: { authorization: request.headers.authorization ?? '' },
      ...(isStage && { body }),
    });
    if (fault.kind === 'forward') {
      response.writeHead(real.status, Object.fromEntries(real.headers));
      for await (const chunk of real.body ?? []) response.write(chunk);
      response.end();
      return;
    }
    const whole = new Uint8Array(await real.arrayBuffer());
    if (fault.kind === 'hold') {
      await fault.until;
      response.writeHead(real.status).end(whole);
    } else if (fault.kind === 'spoil') {
      response.writeHead(200).end(spoilLast(toResult(whole), fault.spoil));
    } else {
      response.writeHead(200);
      const result = toResult(whole);
      response.write(result.subarray(0, result.length - fault.missing), () =>
        fault.how === 'end' ? response.end() : request.socket.destroy(),
      );
    }
  }

  const server: Server = createServer((request, response) => {
    // the far side of a broken forward sees a broken connection
    answer(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    deleted,
    looked,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Where the messages of a body begin, what each is, and where it ends. */
function messagesIn(
  bytes: Uint8Array,
): { readonly event: string | undefined; readonly at: number; readonly end: number }[] {
  const messages = [];
  for (let at = 0; at < bytes.length; ) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    const length = Number(view.getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(at + 8, at + 8 + length))) as Record<
      string,
      { data_offsets?: [number, number]; event?: string }
    >;
    const end =
      at + 8 + length + Math.max(0, ...Object.values(header).map(({ data_offsets }) => data_offsets?.[1] ?? 0));
    messages.push({ event: header.__metadata__?.event, at, end });
    at = end;
  }
  return messages;
}

/** A body to the end of its result: a picture that comes behind it is not what a fault is about. */
function toResult(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(0, messagesIn(bytes).find(({ event }) => event === 'done')?.end ?? bytes.length);
}

/** A body of messages with its last one rewritten. */
function spoilLast(bytes: Uint8Array, spoil: (done: Message) => Message): Uint8Array {
  const { at } = messagesIn(bytes).at(-1) ?? { at: 0 };
  return Buffer.concat([bytes.subarray(0, at), encodeMessage(spoil(decodeMessage(bytes.slice(at))))]);
}
