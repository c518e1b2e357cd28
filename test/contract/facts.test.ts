import { describe, expect, test } from 'vitest';
import { CLOSED_FORM_FACTS } from '../../scripts/local/closed-form-model.ts';
import { modelList } from '../../src/stage/contract.ts';

const listOf = (sizes: { width: number; height: number }[]) =>
  modelList.safeParse({ models: [{ ...CLOSED_FORM_FACTS, sizes }] });

describe('the sizes a model states', () => {
  test('may have an odd number of tokens on a side', () => {
    expect(
      listOf([
        { width: 1360, height: 768 },
        { width: 848, height: 480 },
      ]).success,
    ).toBe(true);
  });

  test('are refused where a side is no whole number of tokens', () => {
    const { error } = listOf([
      { width: 128, height: 128 },
      { width: 128, height: 1000 },
    ]);
    expect(error?.issues).toMatchObject([
      {
        path: ['models', 0, 'sizes', 1],
        message: '128x1000 must have sides that are multiples of token_pixels, 16',
      },
    ]);
  });
});
