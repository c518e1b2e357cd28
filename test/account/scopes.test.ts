import { expect, test } from 'vitest';
import { readScopes, SCOPES, writeScopes } from '../../src/account/scopes.ts';

test('scopes are read back as they were written, in one order, and what is none is left out', () => {
  for (const scopes of [[], ['read'], ['admin', 'generate'], [...SCOPES]] as const)
    expect(readScopes(writeScopes(scopes)).toSorted()).toEqual([...scopes].toSorted());
  expect(writeScopes(['admin', 'read', 'admin'])).toBe('read,admin');
  expect(readScopes('read,root,')).toEqual(['read']);
});
