/** What a key may do. Pure. */

/** `generate` starts jobs, `read` sees them, `admin` rules the account: keys, everybody's jobs, webhook secret. */
export const SCOPES = ['generate', 'read', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

/** As it is kept: names with commas between them. */
export const writeScopes = (scopes: readonly Scope[]): string => SCOPES.filter((one) => scopes.includes(one)).join(',');

export const readScopes = (text: string): readonly Scope[] => {
  const names = text.split(',');
  return SCOPES.filter((one) => names.includes(one));
};
