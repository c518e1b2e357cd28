type WorkerEnv = import('../../src/http/env.ts').Env;

declare namespace Cloudflare {
  interface GlobalProps {
    mainModule: typeof import('../../src/index.ts');
  }
  /** The bindings as the platform has them: tests reach into the objects themselves. */
  interface Env extends Omit<WorkerEnv, 'JOBS' | 'ACCOUNTS' | 'DIRECTORY'> {
    readonly JOBS: DurableObjectNamespace<import('../../durable-objects/job.ts').JobObject>;
    readonly ACCOUNTS: DurableObjectNamespace<import('../../durable-objects/account.ts').AccountObject>;
    readonly DIRECTORY: DurableObjectNamespace<import('../../durable-objects/directory.ts').DirectoryObject>;
  }
}
