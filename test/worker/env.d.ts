type WorkerEnv = import('../../src/http/env.ts').Env;

declare namespace Cloudflare {
  interface GlobalProps {
    mainModule: typeof import('../../src/index.ts');
  }
  interface Env extends WorkerEnv {}
}
