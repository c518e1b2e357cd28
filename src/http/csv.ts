/** Lists as comma-separated values, RFC 4180. Pure. */

/** Text that a spreadsheet would take for a formula, or that hides one behind blanks. */
const FORMULA = /^[\s]*[=+\-@\t\r]/;
const NUMBER = /^-?\d+(?:\.\d+)?$/;

function cell(value: string | number | null): string {
  const text = value === null ? '' : String(value);
  // a caller's customers name themselves: an apostrophe keeps a name from being computed
  const safe = FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** The bytes of a table: names of columns, then its rows. Lines end as the RFC has it. */
export const csv = (columns: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string =>
  [columns, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');

/** The answer with a table; `next`: the address of the page after it. */
export const csvResponse = (text: string, name: string, next: string | null): Response =>
  new Response(text, {
    headers: {
      'content-type': 'text/csv; charset=utf-8; header=present',
      'content-disposition': `attachment; filename="${name}.csv"`,
      ...(next !== null && { link: `<${next}>; rel="next"` }),
    },
  });
