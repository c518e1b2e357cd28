/**
 * A request put into the form because somebody asked for it.
 *
 * @import { RequestAgain } from '../../src/job/job.ts'
 */
import { modelNamed, setFields, writeSeed } from './form.js';
import { shortened } from './snippets.js';

/** What the form can say of a request. */
const OWN_FIELDS = ['model', 'prompt', 'width', 'height', 'seed', 'preset', 'r'];

/**
 * What of a request the form cannot have; the rest is put into it, seed and all, whatever stands there.
 *
 * @param {RequestAgain} request
 * @returns {string[]}
 */
export function restoreForm(request) {
  const missing = setFields(request);
  writeSeed(request.seed);
  // the slider is for the one share of a preset
  const isOwn = (/** @type {string} */ name) =>
    OWN_FIELDS.includes(name) && (name !== 'r' || (request.preset !== undefined && request.r?.length === 1));
  const others = Object.entries(shortened(request, modelNamed(request.model))).filter(([name]) => !isOwn(name));
  return [...missing, ...others.map(([name, value]) => `${name} ${JSON.stringify(value)}`)];
}
