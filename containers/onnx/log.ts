/** One JSON line a happening. Entries hold ids, counts and durations; a prompt or a token never enters one. */
export type Log = (entry: Readonly<Record<string, unknown>>) => void;

/** Writes to stderr: stdout carries the ready line alone, so a parent may stop reading it and nothing blocks. */
export const logToStderr: Log = (entry) => {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`);
};
