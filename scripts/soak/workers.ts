/** What the objects' classes import of the platform, `cloudflare:workers`, where they run in Node. */

export class DurableObject<Env = unknown> {
  protected readonly ctx: unknown;
  protected readonly env: Env;

  constructor(ctx: unknown, env: Env) {
    this.ctx = ctx;
    this.env = env;
  }
}

export const tracing = { enterSpan: <T>(_name: string, work: () => T): T => work() };
