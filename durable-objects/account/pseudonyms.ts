/**
 * Customers of a caller whose content was erased: their money stays, and their names go. Each becomes one random name,
 * the same in charges and usage. Nothing here awaits.
 */
import { OTHER_USERS } from '../../src/billing/spending.ts';

/** Whether a name is a random one already. */
const IS_PSEUDONYM = "(LENGTH(name) = 39 AND name GLOB 'erased_*' AND SUBSTR(name, 8) NOT GLOB '*[^0-9a-f]*')";

const pseudonym = (): string => `erased_${crypto.randomUUID().replaceAll('-', '')}`;

/** Gives up to `limit` customers a random name in place of their own. False where that were all. */
export function pseudonymise(sql: SqlStorage, limit: number): boolean {
  // each customer of a charge is in the usage of the day on which it was held
  const names = sql
    .exec<{ name: string }>(
      `SELECT DISTINCT name FROM usage WHERE dimension = 'user' AND name <> ? AND NOT ${IS_PSEUDONYM} LIMIT ?`,
      OTHER_USERS,
      limit,
    )
    .toArray();
  for (const { name } of names) {
    const erased = pseudonym();
    sql.exec("UPDATE usage SET name = ? WHERE dimension = 'user' AND name = ?", erased, name);
    sql.exec('UPDATE job SET user = ? WHERE user = ?', erased, name);
  }
  return names.length === limit;
}
