/** Until when keys and ids of the first form, which carry no MAC, are taken. Pure. */

const DAY_MS = 86_400_000;

/**
 * The end of the day that `OLD_KEYS_UNTIL` names (UTC, milliseconds since 1970); 0 where it is empty: then they are
 * not. Null where it is no date.
 */
export function oldFormsUntil(text: string): number | null {
  if (text === '') return 0;
  const begin = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  // a day that its month does not have is another day to Date
  return Number.isNaN(begin) || new Date(begin).toISOString().slice(0, 10) !== text ? null : begin + DAY_MS;
}
