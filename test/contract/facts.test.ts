/** What a server may say of itself, and what is refused where it comes in. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CLOSED_FORM_FACTS } from '../../scripts/local/closed-form-model.ts';
import {
  CONTRACT_VERSION,
  FEATURES,
  modelList,
  neededFeatures,
  optionsFor,
  plainOptions,
  type StageOptions,
  stageOptions,
} from '../../src/stage/contract.ts';

const list = (facts: object, more: object = {}) => ({ models: [{ ...CLOSED_FORM_FACTS, ...facts }], ...more });
const faultOf = (value: unknown) => {
  const [issue] = modelList.safeParse(value).error?.issues ?? [];
  return issue && `${issue.path.join('.')}: ${issue.message}`;
};

describe('the sizes of a model', () => {
  test('are whole numbers of tokens a side; grids with an odd side are allowed', () => {
    const side = fc.integer({ min: 1, max: 4096 });
    fc.assert(
      fc.property(side, side, fc.integer({ min: 1, max: 64 }), (width, height, token_pixels) => {
        const isWhole = width % token_pixels === 0 && height % token_pixels === 0;
        expect(faultOf(list({ sizes: [{ width, height }], token_pixels })) === undefined).toBe(isWhole);
      }),
    );
    expect(faultOf(list({ sizes: [{ width: 848, height: 480 }] }))).toBe(undefined); // 53 x 30 tokens
  });

  test('that are not are refused by name, value and rule', () => {
    const sizes = [
      { width: 128, height: 128 },
      { width: 128, height: 100 },
    ];
    expect(faultOf(list({ sizes }))).toBe(
      'models.0.sizes.1: 128x100 must have sides that are multiples of token_pixels, 16',
    );
  });
});

describe('a rule of sizes', () => {
  const RULE = { multiple: 32, min_pixels: 4096, max_pixels: 16_384, max_aspect: 2.5 };
  const faultIn = (changes: object, facts: object = {}) =>
    faultOf(list({ size_rule: { ...RULE, ...changes }, ...facts }));

  test('comes as it is stated, or is null', () => {
    expect(modelList.parse(list({ size_rule: RULE })).models[0]?.size_rule).toEqual(RULE);
    expect(modelList.parse(list({ size_rule: null })).models[0]?.size_rule).toBe(null);
  });

  test.each([
    ['multiple', { multiple: 24 }, '24 must be a multiple of token_pixels, 16'],
    ['multiple', { multiple: 0 }, 'Too small: expected number to be >0'],
    ['min_pixels', { min_pixels: 0 }, 'Too small: expected number to be >0'],
    ['max_pixels', { max_pixels: 4095 }, 'must not be below min_pixels'],
    ['max_pixels', { max_pixels: 16_385 }, '16385 must not be above 16384: max_tokens is 64'],
    ['max_aspect', { max_aspect: 0.99 }, 'Too small: expected number to be >=1'],
    ['max_aspect', { max_aspect: undefined }, 'Invalid input: expected number, received undefined'],
  ])('is refused by %s: %o', (field, changes, rule) => {
    expect(faultIn(changes)).toBe(`models.0.size_rule.${field}: ${rule}`);
  });

  test('needs tokens for the largest picture, whatever a token is', () => {
    const max_pixels = fc.integer({ min: 4096, max: 1_000_000 });
    fc.assert(
      fc.property(max_pixels, fc.integer({ min: 1, max: 1000 }), fc.constantFrom(8, 16, 32), (max, most, side) => {
        const facts = { token_pixels: side, max_tokens: most, sizes: [{ width: side, height: side }] };
        expect(faultIn({ max_pixels: max }, facts) === undefined).toBe(max / side ** 2 <= most);
      }),
    );
  });
});

describe('upsampling, caches, family and guidance of a model', () => {
  test('have defaults, which are what a server of version 2 means that states none of them', () => {
    const { family: _, upsampling: __, caches: ___, size_rule: ____, ...older } = CLOSED_FORM_FACTS;
    const guidance = { min: 1, max: 10, default: 3.5 };
    expect(modelList.parse({ models: [{ ...older, guidance }] }).models[0]).toMatchObject({
      family: null,
      size_rule: null,
      upsampling: ['latent', 'token'],
      caches: ['taylor_velocity'],
      guidance: { ...guidance, kind: 'embedded' },
    });
  });

  test('come as they are stated, in their order', () => {
    const stated = {
      family: 'flux.2',
      upsampling: ['token', 'latent'],
      caches: ['taylor_blocks', 'taylor_velocity'],
      guidance: { kind: 'cfg', min: 0, max: 20, default: 7 },
    };
    expect(modelList.parse(list(stated)).models[0]).toMatchObject(stated);
    expect(modelList.parse(list({ caches: [] })).models[0]?.caches).toEqual([]);
  });

  test.each([
    ['family', { family: '' }],
    ['family', { family: 'x'.repeat(201) }],
    ['upsampling', { upsampling: [] }],
    ['upsampling', { upsampling: ['token', 'token'] }],
    ['upsampling.0', { upsampling: ['bilinear'] }],
    ['caches', { caches: ['taylor_blocks', 'taylor_blocks'] }],
    ['caches.1', { caches: ['taylor_velocity', 'teacache'] }],
    ['guidance.kind', { guidance: { kind: 'autoguidance', min: 0, max: 1, default: 1 } }],
  ])('are refused by %s: %o', (field, facts) => {
    expect(faultOf(list(facts))?.split(': ')[0]).toBe(`models.0.${field}`);
  });
});

describe('the presets of a model’s own', () => {
  const preset = { name: 'own', N: [3, 1, 6], e: [0.2, 0.3, 1], r: [0.1] };
  const other = { ...preset, name: 'other' };
  const faultIn = (changes: object) => faultOf(list({ presets: [preset, { ...other, ...changes }] }));

  test('are schedules of two stages or more', () => {
    expect(faultIn({})).toBe(undefined);
    expect(modelList.parse(list({ presets: [preset] })).models[0]?.presets).toEqual([preset]);
    expect(faultIn({ N: [3, 6], e: [0.2, 1], r: [] })).toBe(undefined);
    // the difference of these two is a hair less than 0.001
    expect(faultIn({ e: [0.008, 0.009, 1] })).toBe(undefined);
  });

  test.each([
    ['N', { N: [10], e: [1], r: [] }],
    ['N', { N: [900, 50, 51] }],
    ['N.0', { N: [0, 1, 6] }],
    ['e', { e: [0.2, 1] }],
    ['e', { e: [0.3, 0.2, 1] }],
    ['e', { e: [0.2, 0.2005, 1] }],
    ['e', { e: [0.2, 0.3, 0.9] }],
    ['r', { r: [] }],
    ['r', { N: [1, 1, 1, 1], e: [0.1, 0.2, 0.3, 1], r: [0.2, 0.1] }],
    ['r.0', { r: [1.5] }],
    ['name', { name: '' }],
  ])('are refused by %s: %o', (field, changes) => {
    expect(faultIn(changes)).toContain(`models.0.presets.1.${field}: `);
  });

  test('are at most 32', () => {
    const presets = Array.from({ length: 33 }, (_, i) => ({ ...preset, name: `own-${i}` }));
    expect(faultOf(list({ presets: presets.slice(1) }))).toBe(undefined);
    expect(faultOf(list({ presets }))).toContain('models.0.presets: ');
  });

  test('have different names', () => {
    expect(faultIn({ name: 'own' })).toBe('models.0.presets: names must differ');
  });
});

describe('the vocabulary and the examples of a model', () => {
  const vocabulary = { objects: ['fox', 'ice cream'], colours: ['red'], backgrounds: [], counts: ['two'] };
  const emoji = { '🦊': 'fox', '☂️': 'red umbrella' };
  const examples = ['a red fox', 'two ice creams'];
  const faultIn = (changes: object) => faultOf(list({ vocabulary: { ...vocabulary, ...changes }, examples }));

  test('come as they are stated, or not at all', () => {
    const [stated] = modelList.parse(list({ vocabulary, emoji, examples })).models;
    expect(stated?.vocabulary).toEqual(vocabulary);
    expect(stated?.emoji).toEqual(emoji);
    expect(stated?.examples).toEqual(examples);
    const [silent] = modelList.parse(list({})).models;
    expect(silent).not.toHaveProperty('vocabulary');
    expect(silent).not.toHaveProperty('emoji');
    expect(silent).not.toHaveProperty('examples');
  });

  const ONE_LINE = 'must be one line without spaces around it';
  const numbered = (length: number) => Array.from({ length }, (_, i) => `word ${i}`);
  test.each([
    ['objects', { objects: numbered(2049) }, 'Too big: expected array to have <=2048 items'],
    ['objects', { objects: ['fox', 'fox'] }, 'words must differ'],
    ['colours.1', { colours: ['red', 'x'.repeat(101)] }, 'Too big: expected string to have <=100 characters'],
    ['colours.0', { colours: [''] }, ONE_LINE],
    ['backgrounds.0', { backgrounds: [' pink'] }, ONE_LINE],
    ['backgrounds.0', { backgrounds: ['pink\nblue'] }, ONE_LINE],
    ['counts', { counts: undefined }, 'Invalid input: expected array, received undefined'],
  ])('have bounds: %s is refused', (field, changes, rule) => {
    expect(faultIn(changes)).toBe(`models.0.vocabulary.${field}: ${rule}`);
  });

  test.each([
    ['examples', [], 'Too small: expected array to have >=1 items'],
    ['examples', numbered(17), 'Too big: expected array to have <=16 items'],
    ['examples', ['a fox', 'a fox'], 'prompts must differ'],
    ['examples.1', ['a fox', 'x'.repeat(501)], 'Too big: expected string to have <=500 characters'],
    ['examples.0', ['a fox '], ONE_LINE],
  ])('%s have bounds: %j', (field, examples, rule) => {
    expect(faultOf(list({ examples }))).toBe(`models.0.${field}: ${rule}`);
  });

  const emojiOf = (length: number) => Object.fromEntries(numbered(length).map((word) => [word, 'fox']));
  test.each([
    ['emoji', emojiOf(2049), 'must have at most 2048 emoji'],
    ['emoji.🦊', { '🦊': 'fox\n' }, ONE_LINE],
    ['emoji.🦊', { '🦊': 'x'.repeat(101) }, 'Too big: expected string to have <=100 characters'],
  ])('%s has bounds', (field, emoji, rule) => {
    expect(faultOf(list({ emoji }))).toBe(`models.0.${field}: ${rule}`);
  });

  test('at their bounds are taken', () => {
    expect(faultOf(list({ emoji: emojiOf(2048) }))).toBe(undefined);
    expect(faultIn({ objects: numbered(2048), colours: ['x'.repeat(100)] })).toBe(undefined);
    expect(faultOf(list({ examples: [...numbered(15), 'x'.repeat(500)] }))).toBe(undefined);
  });
});

describe('a list of models', () => {
  test('that states no contract is of version 1, and its engines are unknown', () => {
    expect(modelList.parse(list({}))).toEqual({
      contract: { version: 1, features: [] },
      models: [{ ...CLOSED_FORM_FACTS, engine_class: null, deterministic: false }],
    });
  });

  test('that states no scripts leaves open what its models read', () => {
    const { scripts: _, ...facts } = CLOSED_FORM_FACTS;
    expect(modelList.parse({ models: [facts] }).models[0]?.scripts).toBe(null);
    expect(modelList.parse(list({ scripts: ['Latin', 'Han'] })).models[0]?.scripts).toEqual(['Latin', 'Han']);
  });

  test('of a later version is read: what is not known here is left, its features are kept', () => {
    const contract = { version: CONTRACT_VERSION + 1, features: [...FEATURES, 'levitation'], mood: 'good' };
    const parsed = modelList.parse(list({ colour: 'red' }, { contract, more: true }));
    expect(parsed.contract).toEqual({ version: contract.version, features: contract.features });
    expect(parsed.models).toEqual([{ ...CLOSED_FORM_FACTS, engine_class: null, deterministic: false }]);
  });

  test.each([
    ['contract.version', list({}, { contract: { version: 0, features: [] } })],
    ['contract.features.0', list({}, { contract: { version: 2, features: [''] } })],
    ['contract.features', list({}, { contract: { version: 2, features: Array(65).fill('x') } })],
    ['models', { models: Array(257).fill(CLOSED_FORM_FACTS) }],
    ['models.0.engine_class', list({ engine_class: 'two, engines' })],
    ['models.0.engine_class', list({ engine_class: 'größer' })],
    ['models.0.engine_class', list({ engine_class: 'x'.repeat(201) })],
    ['models.0.id', list({ id: '' })],
    ['models.0.scripts', list({ scripts: [] })],
    ['models.0.scripts', list({ scripts: Array(65).fill('Latin') })],
    ['models.0.scripts.1', list({ scripts: ['Latin', 'latin'] })],
    [
      'models.0.shift',
      list({
        shift: [
          { tokens: 64, shift: 3 },
          { tokens: 64, shift: 3 },
        ],
      }),
    ],
  ])('is refused where %s breaks its rule', (field, value) => {
    expect(faultOf(value)?.split(': ')[0]).toBe(field);
  });
});

describe('what a server is sent', () => {
  const options: StageOptions = stageOptions.parse({
    model: 'm',
    prompt: 'p',
    negative_prompt: '',
    guidance: null,
    width: 64,
    height: 64,
    decode: 'none',
    rgb: false,
    format: 'png',
    quality: 80,
    preview: null,
    cache: null,
    traceparent: '',
  });

  test('has an account tag only where the server states that feature, and everything else always', () => {
    const tagged = { ...options, account_tag: 'a-1' };
    expect(optionsFor(tagged, ['account_tag', 'levitation'])).toEqual(tagged);
    expect(optionsFor(tagged, ['levitation'])).toEqual(options);
    expect(optionsFor(options, ['account_tag'])).toEqual(options);
    expect(Object.keys(optionsFor(tagged, []))).toEqual(Object.keys(options));
  });

  test('goes plain without what changes no number, and with everything that does', () => {
    const needy = { ...options, solver: 'ab2' as const, clean_latents: true };
    expect(plainOptions({ ...needy, account_tag: 'a-1', late_preview: true })).toEqual(needy);
    expect(plainOptions(needy)).toEqual(needy);
  });

  test('names another solver only to a server that has it, and is refused for one that has not', () => {
    const needy = { ...options, solver: 'ab2' as const };
    expect(optionsFor(needy, ['solver.ab2'])).toEqual(needy);
    expect(() => optionsFor(needy, ['account_tag'])).toThrow(
      new RangeError('features are [account_tag]; expected solver.ab2 among them'),
    );
    expect(neededFeatures(needy)).toEqual(['solver.ab2']);
  });

  test('has no cache where every step is evaluated, whatever the server', () => {
    expect(neededFeatures(options)).toEqual([]);
    expect(optionsFor(options, []).cache).toBeNull();
  });

  test.each(['taylor_velocity', 'taylor_blocks'] as const)('has a cache %s only where that kind is stated', (kind) => {
    const needy = { ...options, cache: { kind, interval: 2, order: 2, warmup: 3 } };
    const other = `cache.${kind === 'taylor_blocks' ? 'taylor_velocity' : 'taylor_blocks'}`;
    expect(stageOptions.parse(needy)).toEqual(needy);
    expect(neededFeatures(needy)).toEqual([`cache.${kind}`]);
    expect(optionsFor(needy, [other, `cache.${kind}`])).toEqual(needy);
    expect(() => optionsFor(needy, [other])).toThrow(
      new RangeError(`features are [${other}]; expected cache.${kind} among them`),
    );
  });

  test('may name Euler, which every server computes by', () => {
    const plain = { ...options, solver: 'euler' as const };
    expect(optionsFor(plain, ['solver.ab2'])).toEqual(plain);
    expect(optionsFor(plain, [])).toEqual(options);
    expect([neededFeatures(plain), neededFeatures(options)]).toEqual([[], []]);
  });
});
