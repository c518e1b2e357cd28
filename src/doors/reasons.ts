/** Why fields of other services are ignored or refused here, in the words of every door. Pure. */

/** Of fields that are ignored, as in `strength is ignored: …`. */
export const JUDGE = 'the deployment decides: its judge of prompts is asked either way';
export const AS_WRITTEN = 'the prompt is read as it is written';
export const NO_PICTURE = 'there is no picture to begin with';
export const NO_RAW = 'the models have no raw mode';
export const OWN_PACE = 'the preset decides how much is computed';
export const OWN_SCHEDULE = 'the schedule is the method’s own; solver chooses how it steps';

/** Of fields that are refused, as in `image is not there: …`. */
export const NO_IMAGE_TO_IMAGE = 'is not there: pictures are made from text alone';
export const NO_ADAPTERS = 'is not there: the models take no weights of others';
