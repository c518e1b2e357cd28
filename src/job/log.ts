/** One structured log line. Ids, counts, reasons and times; never a prompt, never a key. */
export function logLine(
  event: string,
  fields: Readonly<Record<string, string | number | boolean | null | undefined>>,
): void {
  console.log(JSON.stringify({ event, ...fields }));
}
