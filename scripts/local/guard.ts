/**
 * Preloaded into the child of a local stack (`node --import guard.ts …`), or run by itself: ends with its parent,
 * whatever way the parent ended.
 *
 * Standard input is a pipe the parent never closes while it lives, so its end means that the parent is gone, SIGKILL
 * included. Each line on it is the id of another process of the stack, which dies too: workerd does not notice the
 * death of the Node process that started it.
 */
import { createInterface } from 'node:readline';
import { isMainThread } from 'node:worker_threads';

function watchParent(): void {
  const wards = new Set<number>();
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => wards.add(Number(line)));
  lines.on('close', () => {
    for (const pid of wards) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ESRCH: it went first
      }
    }
    process.exit(0);
  });
}

// preloads run in worker threads too, such as those of the WASM engine, whose input is empty and ends at once
if (isMainThread) watchParent();
