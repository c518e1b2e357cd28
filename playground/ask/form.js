/**
 * The request form: filled from what the models say of themselves.
 *
 * @import { ListedModel, Preset } from '../wire/service.js'
 * @import { Many } from './several.js'
 * @import { JobView, RequestAgain } from '../../src/job/job.ts'
 */
import { byId, element } from '../ground/element.js';
import { counted } from '../ground/figures.js';
import { offerWords } from './palette.js';
import { seedsOf, worksOf } from './several.js';

const form = byId('request', HTMLFormElement);
const prompt = byId('prompt', HTMLTextAreaElement);
const modelChoice = byId('model', HTMLSelectElement);
const presetChoices = byId('presets', HTMLDivElement);
const ratio = byId('ratio', HTMLInputElement);
const ratioShown = byId('ratio-shown', HTMLOutputElement);
const size = byId('size', HTMLSelectElement);
const seed = byId('seed', HTMLInputElement);
const compare = byId('compare', HTMLInputElement);
const manyChoice = byId('many', HTMLSelectElement);

/** where the tab keeps the form while the page is loaded anew */
const PLACE = 'ralu-form';
const PLAIN = 'plain';
const MAX_PROMPT = 32_000;
const MAX_SEED = 2 ** 32 - 1;

/** what the page put into the prompt last: where it differs, somebody is writing */
let filled = prompt.value;
/** the job that it was filled from last @type {string | null} */
let filledFrom = null;
/** the share that is asked for; null: the preset's own @type {number | null} */
let share = null;

/** whether the form was not sent, because of what stands in it */
let isRefused = false;

/** @type {readonly ListedModel[]} */
let models = [];

const model = () => /** @type {ListedModel} */ (models.find(({ id }) => id === modelChoice.value) ?? models[0]);
const many = () => /** @type {Many} */ (manyChoice.value);
const presetName = () => String(new FormData(form).get('preset'));
const preset = () =>
  /** @type {Preset} */ (model().presets.find(({ name }) => name === presetName()) ?? model().presets.at(-1));

/** A preset's share that the slider can stand for. @param {Preset} chosen */
const ownRatio = ({ r }) => (r.length === 1 ? (r[0] ?? null) : null);

function drawRatio() {
  const own = ownRatio(preset());
  ratio.disabled = own === null;
  const [width = 0, height = 0] = size.value.split('x').map(Number);
  const lowTokens = (width / model().token_pixels / 2) * (height / model().token_pixels / 2);
  const shown = share ?? own ?? 0;
  ratioShown.textContent = own === null ? 'not with this preset' : `${Math.floor(shown * lowTokens)} of ${lowTokens}`;
  // the plain model beside itself
  const isPlain = presetName() === PLAIN;
  const isAlone = many() === 'one';
  compare.disabled = isPlain || !isAlone;
  byId('compare-note', HTMLElement).textContent = !isAlone
    ? 'One picture at a time.'
    : isPlain
      ? 'This is the plain model.'
      : 'Runs it afterwards, same prompt and seed.';
}

/** The slider goes to a share, or to the preset's own. @param {number | null} wanted */
function setRatio(wanted) {
  share = wanted;
  ratio.value = String(wanted ?? ownRatio(preset()) ?? 0);
  drawRatio();
}

function drawModel() {
  const { sizes, presets, card } = model();
  offerWords(model());
  byId('card', HTMLParagraphElement).textContent = card;
  const before = size.value;
  size.replaceChildren(
    ...sizes.map(({ width, height }) => element('option', { value: `${width}x${height}` }, `${width} × ${height}`)),
  );
  if (sizes.some(({ width, height }) => `${width}x${height}` === before)) size.value = before;
  // the default first
  presetChoices.replaceChildren(
    ...[...presets].reverse().map(({ name, N, cache }, index) => {
      const steps = N.length === 1 ? counted(N[0] ?? 0, 'step') : `${N.join(' + ')} steps`;
      return element(
        'label',
        {},
        element('input', { type: 'radio', name: 'preset', value: name, checked: index === 0 }),
        name,
        element('small', {}, cache ? `${steps}, some forecast` : steps),
      );
    }),
  );
  setRatio(null);
}

/** A model that can be asked for; undefined: there is none of this name. @param {string} name */
export const modelNamed = (name) => models.find(({ id }) => id === name);

/** What stands in the form, and what it was filled from. */
const readWhole = () => ({
  request: { ...readDraft(), r: share === null ? [] : [share] },
  seed: seed.value,
  many: manyChoice.value,
  isCompared: compare.checked,
  filled,
  filledFrom,
});

/** Keeps what stands in the form until the page is loaded anew. */
export function keepForm() {
  sessionStorage.setItem(PLACE, JSON.stringify(readWhole()));
}

/** Fills the form with what can be asked for; what stands in it stays. @param {readonly ListedModel[]} found */
export function offerModels(found) {
  /** @type {ReturnType<typeof readWhole> | null} */
  const whole = models.length > 0 ? readWhole() : JSON.parse(sessionStorage.getItem(PLACE) ?? 'null');
  sessionStorage.removeItem(PLACE);
  models = found;
  modelChoice.replaceChildren(...found.map(({ id }) => element('option', { value: id }, id)));
  byId('model-field', HTMLDivElement).hidden = found.length < 2;
  drawModel();
  if (!whole) return;
  manyChoice.value = whole.many;
  compare.checked = whole.isCompared;
  setFields(whole.request);
  seed.value = whole.seed;
  ({ filled, filledFrom } = whole);
}

/** What one picture's price depends on: the body of `POST /v1/jobs` without prompt and seed. */
function readOne() {
  const [width = 0, height = 0] = size.value.split('x').map(Number);
  return {
    model: model().id,
    width,
    height,
    preset: presetName(),
    ...(share !== null && ownRatio(preset()) !== null && { r: share }),
  };
}

/** What the price depends on: each picture's part of it, and whether the plain model runs too. */
export const readWork = () => ({
  works: worksOf(many(), readOne(), model().presets),
  isCompared: many() === 'one' && compare.checked && presetName() !== PLAIN,
});

/** What keeps the form from being sent, and the field that it is about; null: nothing. */
function findFault() {
  if (prompt.value.trim() === '')
    return { field: prompt, sentence: 'Write a prompt first: what should the picture show?' };
  const { length } = prompt.value;
  const [has, most] = [length, MAX_PROMPT].map((count) => count.toLocaleString('en'));
  if (length > MAX_PROMPT)
    return { field: prompt, sentence: `The prompt has ${has} characters. At most ${most} are possible.` };
  const written = seed.value.trim();
  if (!/^\d*$/.test(written) || Number(written) > MAX_SEED)
    return { field: seed, sentence: `The seed must be a whole number from 0 to ${MAX_SEED}, or empty for any.` };
  return null;
}

/** Marks the field that is at fault, and no other. @param {HTMLElement | null} fault */
function markFault(fault) {
  for (const field of [prompt, seed])
    if (field === fault) field.setAttribute('aria-invalid', 'true');
    else field.removeAttribute('aria-invalid');
}

/**
 * A body of `POST /v1/jobs` for each picture, or the sentence that says what is missing, with the field marked and
 * focused.
 *
 * @returns {{ bodies: Record<string, unknown>[], isCompared: boolean } | { sentence: string }}
 */
export function readForm() {
  const fault = findFault();
  markFault(fault?.field ?? null);
  isRefused = fault !== null;
  if (fault) {
    fault.field.focus();
    return { sentence: fault.sentence };
  }
  const { works, isCompared } = readWork();
  filled = prompt.value;
  const written = seed.value.trim();
  const seeds = seedsOf(many(), works.length, written === '' ? null : Number(written), Math.random);
  const bodies = works.map((body, i) => ({
    ...body,
    prompt: prompt.value,
    ...(seeds[i] !== null && { seed: seeds[i] }),
  }));
  return { bodies, isCompared };
}

/** The form as it stands, as a request: what would be sent, whatever is still missing in it. */
export function readDraft() {
  const written = seed.value.trim();
  return { ...readOne(), prompt: prompt.value, ...(/^\d+$/.test(written) && { seed: Number(written) }) };
}

/**
 * Puts a job's request into the form, so that it can be varied; not over words that somebody is writing, and once: what
 * was made of it stays.
 *
 * @param {JobView} job
 * @param {boolean} isCompared
 */
export function fillForm(job, isCompared) {
  if (prompt.value !== filled || filledFrom === job.id) return;
  filled = job.prompt;
  filledFrom = job.id;
  setFields(job.request);
  compare.checked = isCompared;
}

/**
 * Puts what the form can say of a request into its fields.
 *
 * @param {Pick<RequestAgain, 'prompt' | 'model' | 'width' | 'height' | 'preset' | 'r'>} request
 * @returns {string[]} what cannot be set
 */
export function setFields({ prompt: words, model: name, width, height, preset: chosen, r = [] }) {
  const missing = [];
  prompt.value = words;
  prompt.dispatchEvent(new Event('input'));
  if (!modelNamed(name)) missing.push(`the model ${name}`);
  else if (modelChoice.value !== name) {
    modelChoice.value = name;
    drawModel();
  }
  const wanted = `${width}x${height}`;
  if ([...size.options].some(({ value }) => value === wanted)) size.value = wanted;
  else missing.push(`the size ${width} × ${height}`);
  const radios = [...presetChoices.querySelectorAll('input')];
  if (chosen === undefined || !radios.some(({ value }) => value === chosen)) {
    if (chosen !== undefined) missing.push(`the preset ${chosen}`);
    drawRatio();
    return missing;
  }
  for (const radio of radios) radio.checked = radio.value === chosen;
  const [asked = null, ...others] = r;
  setRatio(others.length === 0 && asked !== ownRatio(preset()) ? asked : null);
  return missing;
}

/** Where one writes first. */
export const focusPrompt = () => prompt.focus();

/** @param {number} value */
export function writeSeed(value) {
  seed.value = String(value);
  form.dispatchEvent(new Event('change'));
}

/** Tells when what kept the form from being sent is mended. @param {() => void} onMended */
function lookAgain(onMended) {
  if (!isRefused || findFault()) return;
  isRefused = false;
  markFault(null);
  onMended();
}

/** Listens to the form. @param {{ onSubmit: () => void, onChange: () => void, onMended: () => void }} listeners */
export function listenToForm({ onSubmit, onChange, onMended }) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    onSubmit();
  });
  prompt.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  modelChoice.addEventListener('change', drawModel);
  presetChoices.addEventListener('change', () => setRatio(null));
  ratio.addEventListener('input', () => setRatio(Number(ratio.value)));
  for (const choice of [size, manyChoice]) choice.addEventListener('input', drawRatio);
  for (const type of ['input', 'change'])
    form.addEventListener(type, () => {
      lookAgain(onMended);
      onChange();
    });
}
