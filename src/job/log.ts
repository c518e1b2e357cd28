/** One structured log line. Ids, counts, reasons and times; never a prompt, never a key, never the token of a link. */
export function logLine(
  event: string,
  fields: Readonly<Record<string, string | number | boolean | null | undefined>>,
): void {
  // an error may quote the address of a request, and a link's token opens its picture to whoever reads the log
  const line = JSON.stringify({ event, ...fields }).replaceAll(/\btoken=[^&\s"'\\]*/gi, 'token=…');
  console.log(line.replaceAll(/\/s\/[0-9a-z]+\.[0-9a-f.]+/gi, '/s/…'));
}
