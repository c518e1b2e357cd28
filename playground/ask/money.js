/**
 * What the form as it stands would cost, and what the account has. The service is asked a moment after the form last
 * changed; an answer that is outdated by then is not waited for.
 *
 * @import { Quote } from '../../src/job/job.ts'
 * @import { Account, Refusal } from '../wire/service.js'
 */
import { byId } from '../ground/element.js';
import { dollars, micro, work } from '../ground/figures.js';
import { getAccount, quoteJob } from '../wire/service.js';

const WAIT_MS = 300;
/** How often it is looked whether a job that has ended is settled, and how many times. */
const SETTLE = { ms: 1500, looks: 4 };
/** No quote depends on the prompt, so what is being written goes nowhere yet. */
const ANY_PROMPT = 'a picture';

const host = byId('money', HTMLDivElement);
const priceLine = byId('price', HTMLElement);
const plainLine = byId('plain-price', HTMLElement);
const balanceLine = byId('balance', HTMLElement);

/** What is asked for, picture by picture. @typedef {{ works: Record<string, unknown>[], isCompared: boolean }} Asked */

/** @type {Asked | null} */
let asked = null;
/** @type {{ key: string, quotes: Quote[] | null, trouble: string } | null} */
let known = null;
/** @type {Account | null} */
let account = null;
let quoting = new AbortController();
/** @type {number | undefined} */
let quoteTimer;
/** @type {number | undefined} */
let settleTimer;
/** counts what was asked about the account: an answer that is overtaken is not shown */
let looks = 0;

/** @param {Asked | null} of */
const keyOf = (of) => JSON.stringify(of?.works ?? null);

/** What of each is added up. @param {readonly Quote[]} quotes @param {(quote: Quote) => number} of */
const sum = (quotes, of) => quotes.reduce((total, quote) => total + of(quote), 0);
const quoted = (/** @type {Quote} */ { cost }) => micro(cost?.quote_usd ?? '0');
const plain = (/** @type {Quote} */ { cost }) => micro(cost?.plain_usd ?? '0');

/** Micro-dollars that pressing the button may cost; null where nothing is charged, or the price is not known. */
function needed() {
  const quotes = known?.quotes;
  if (!quotes?.[0]?.cost || !asked) return null;
  return sum(quotes, quoted) + (asked.isCompared ? sum(quotes, plain) : 0);
}

function drawPrice() {
  if (!known || !asked) return;
  const { quotes, trouble } = known;
  const all = quotes && quotes.length > 1 ? `${quotes.length} pictures. With the plain model` : 'The plain model';
  if (!quotes) {
    priceLine.textContent = trouble;
    plainLine.textContent = '';
  } else if (quotes[0]?.cost) {
    priceLine.textContent = `At most ${dollars((needed() ?? 0) / 1e6)}`;
    const ofPlain = dollars(sum(quotes, plain) / 1e6);
    plainLine.textContent = asked.isCompared
      ? `${dollars(sum(quotes, quoted) / 1e6)} + plain model ${ofPlain}`
      : `${all}: ${ofPlain}`;
  } else {
    priceLine.textContent = `${work(sum(quotes, ({ tflops }) => tflops))} of work`;
    plainLine.textContent = `${all}: ${work(sum(quotes, ({ plan }) => plan.tflops.plain_total))}`;
  }
}

/** The price of each picture; equal ones are asked for once. @param {Asked} form @param {AbortSignal} signal */
async function quoteAll({ works }, signal) {
  /** @type {Map<string, Promise<Quote>>} */
  const asks = new Map();
  for (const body of works) {
    const key = JSON.stringify(body);
    if (!asks.has(key)) asks.set(key, quoteJob({ ...body, prompt: ANY_PROMPT }, signal));
  }
  return Promise.all(works.map((body) => /** @type {Promise<Quote>} */ (asks.get(JSON.stringify(body)))));
}

function drawBalance() {
  if (known?.quotes && !known.quotes[0]?.cost) {
    balanceLine.textContent = 'This service charges nothing.';
    return;
  }
  if (!account) return;
  const { balance_usd, held_usd, available_usd, credit_limit_usd } = account.billing;
  const isOwed = micro(balance_usd) < 0 || (micro(balance_usd) === 0 && account.billing.mode === 'postpaid');
  const amount = isOwed ? `Owed so far: ${dollars(balance_usd.replace('-', ''))}` : `Balance: ${dollars(balance_usd)}`;
  const limit = isOwed && credit_limit_usd !== null ? ` of at most ${dollars(credit_limit_usd)}` : '';
  const held = micro(held_usd) > 0 ? `, ${dollars(held_usd)} ${isOwed ? 'more ' : 'of it '}held` : '';
  const isShort = available_usd !== null && (needed() ?? 0) > micro(available_usd);
  balanceLine.textContent = `${amount}${limit}${held}${isShort ? ': too little for this' : ''}`;
  balanceLine.classList.toggle('short', isShort);
}

function draw() {
  drawPrice();
  drawBalance();
}

/** Shows the price of what the form asks for, a moment after the last change. @param {Asked} form */
export function askPrice(form) {
  asked = form;
  clearTimeout(quoteTimer);
  quoting.abort();
  const key = keyOf(form);
  if (known?.key === key && known.quotes) {
    host.setAttribute('aria-busy', 'false');
    return draw();
  }
  host.setAttribute('aria-busy', 'true');
  const own = new AbortController();
  quoting = own;
  quoteTimer = setTimeout(
    async () => {
      const found = await quoteAll(form, own.signal).then(
        (quotes) => ({ key, quotes, trouble: '' }),
        (/** @type {unknown} */ error) => ({ key, quotes: null, trouble: troubleOf(error) }),
      );
      if (own.signal.aborted) return;
      known = found;
      host.setAttribute('aria-busy', 'false');
      draw();
    },
    known ? WAIT_MS : 0,
  );
}

/** Why there is no price, in a few words. @param {unknown} error */
const troubleOf = (error) =>
  /** @type {Partial<Refusal>} */ (error).status === 403 ? 'This key may not ask for a price.' : 'No price just now.';

/** Shows what the account has; once a job has ended, until it is settled. */
export async function askBalance({ isSettling = false, left = SETTLE.looks } = {}) {
  clearTimeout(settleTimer);
  looks += 1;
  const own = looks;
  // the price is there without it, and whatever is wrong is told where something is done
  const found = await getAccount().catch(() => null);
  if (own !== looks || !found) return;
  account = found;
  drawBalance();
  if (isSettling && left > 0 && micro(found.billing.held_usd) > 0)
    settleTimer = setTimeout(() => askBalance({ isSettling, left: left - 1 }), SETTLE.ms);
}

/** Nothing of an account stays on the page when its key goes. */
export function forgetMoney() {
  looks += 1;
  clearTimeout(settleTimer);
  clearTimeout(quoteTimer);
  quoting.abort();
  known = null;
  account = null;
  balanceLine.classList.remove('short');
  for (const line of [priceLine, plainLine, balanceLine]) line.textContent = '';
}

/** Why nothing was started, where it is about money. @param {Refusal} refusal */
export const explainUnpaid = ({ code, message }) =>
  code === 'spend_limit'
    ? `Nothing was started: a limit of spending is reached. ${message}`
    : `Nothing was started: too little credit. ${message} Whoever runs this service can add some.`;
