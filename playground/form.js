/**
 * The request form: filled from what the models say of themselves.
 *
 * @import { ListedModel, Preset } from './service.js'
 * @import { ImageRequest } from './snippets.js'
 * @import { JobView } from '../src/job/job.ts'
 */
import { byId, element } from './element.js';
import { counted } from './figures.js';

const form = byId('request', HTMLFormElement);
const prompt = byId('prompt', HTMLTextAreaElement);
const modelChoice = byId('model', HTMLSelectElement);
const presetChoices = byId('presets', HTMLDivElement);
const ratio = byId('ratio', HTMLInputElement);
const ratioShown = byId('ratio-shown', HTMLOutputElement);
const size = byId('size', HTMLSelectElement);
const seed = byId('seed', HTMLInputElement);
const compare = byId('compare', HTMLInputElement);

const PLAIN = 'plain';

/** @type {readonly ListedModel[]} */
let models = [];

const model = () => /** @type {ListedModel} */ (models.find(({ id }) => id === modelChoice.value) ?? models[0]);
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
  const share = Number(ratio.value);
  ratioShown.textContent =
    own === null ? 'not with this preset' : `${share.toFixed(2)} · ${Math.floor(share * lowTokens)} of ${lowTokens}`;
}

/** The slider goes to the preset's own share. */
function resetRatio() {
  ratio.value = String(ownRatio(preset()) ?? 0);
  drawRatio();
}

function drawModel() {
  const { sizes, presets, card } = model();
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
  resetRatio();
}

/** Fills the form with what can be asked for. @param {readonly ListedModel[]} found */
export function offerModels(found) {
  models = found;
  modelChoice.replaceChildren(...found.map(({ id }) => element('option', { value: id }, id)));
  byId('model-field', HTMLDivElement).hidden = found.length < 2;
  drawModel();
}

/**
 * What the price depends on: the body of `POST /v1/jobs` without prompt and seed, and whether the plain model runs too.
 */
export function readWork() {
  const [width, height] = size.value.split('x').map(Number);
  const own = ownRatio(preset());
  const body = {
    model: model().id,
    width,
    height,
    preset: presetName(),
    ...(own !== null && Number(ratio.value) !== own && { r: Number(ratio.value) }),
  };
  return { body, isCompared: compare.checked && presetName() !== PLAIN };
}

/**
 * The body of `POST /v1/jobs`, or the sentence that says what is missing, with the field marked and focused.
 *
 * @returns {{ body: Record<string, unknown>, isCompared: boolean } | { sentence: string }}
 */
export function readForm() {
  for (const field of [prompt, seed]) field.removeAttribute('aria-invalid');
  if (prompt.value.trim() === '') return complain(prompt, 'Write in the prompt what to draw.');
  const drawnSeed = seed.value.trim();
  if (!/^\d*$/.test(drawnSeed) || Number(drawnSeed) >= 2 ** 32)
    return complain(seed, 'The seed must be a whole number from 0 to 4294967295, or empty for a new one.');
  const { body, isCompared } = readWork();
  return {
    body: { ...body, prompt: prompt.value, ...(drawnSeed !== '' && { seed: Number(drawnSeed) }) },
    isCompared,
  };
}

/** @param {HTMLElement} field @param {string} sentence */
function complain(field, sentence) {
  field.setAttribute('aria-invalid', 'true');
  field.focus();
  return { sentence };
}

/**
 * The request as code has it; a seed left open becomes that of the picture shown. @param {number | null} shownSeed
 * @returns {ImageRequest}
 */
export function readRequest(shownSeed) {
  const own = ownRatio(preset());
  const written = seed.value.trim();
  return {
    model: model().id,
    prompt: prompt.value,
    size: size.value,
    seed: /^\d+$/.test(written) ? Number(written) : shownSeed,
    ralu: { preset: presetName(), ...(own !== null && Number(ratio.value) !== own && { r: Number(ratio.value) }) },
  };
}

/** Puts a job's request into the form, so that it can be varied. @param {JobView} job @param {boolean} isCompared */
export function fillForm(job, isCompared) {
  prompt.value = job.prompt;
  const wasPreset = presetName();
  if (models.some(({ id }) => id === job.model) && modelChoice.value !== job.model) {
    modelChoice.value = job.model;
    drawModel();
  }
  const wanted = `${job.width}x${job.height}`;
  if ([...size.options].some(({ value }) => value === wanted)) size.value = wanted;
  compare.checked = isCompared;
  if (job.preset === null || job.preset === wasPreset) return;
  for (const radio of presetChoices.querySelectorAll('input')) radio.checked = radio.value === job.preset;
  resetRatio();
}

/** @param {number} value */
export function writeSeed(value) {
  seed.value = String(value);
  form.dispatchEvent(new Event('change'));
}

/** Listens to the form. @param {{ onSubmit: () => void, onChange: () => void }} listeners */
export function listenToForm({ onSubmit, onChange }) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    onSubmit();
  });
  prompt.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  modelChoice.addEventListener('change', drawModel);
  presetChoices.addEventListener('change', resetRatio);
  for (const control of [ratio, size]) control.addEventListener('input', drawRatio);
  for (const type of ['input', 'change']) form.addEventListener(type, onChange);
}
