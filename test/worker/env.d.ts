declare namespace Cloudflare {
  interface GlobalProps {
    mainModule: typeof import('../../src/index.ts');
  }
  interface Env extends Omit<import('../../src/http/env.ts').Env, never> {}
}
