/** Numbers as the page shows them. Pure. */

/** @param {number} ms */
export const duration = (ms) =>
  ms < 10
    ? `${ms.toFixed(1)} ms`
    : ms < 1000
      ? `${Math.round(ms)} ms`
      : ms < 10_000
        ? `${(ms / 1000).toFixed(2)} s`
        : `${(ms / 1000).toFixed(1)} s`;

/** The same without zeros at the end, for the marks of an axis. @param {number} ms */
export const roundDuration = (ms) =>
  duration(ms).replace(/\.(\d*?)0+(?= )/, (_, digits) => (digits === '' ? '' : `.${digits}`));

/** 10¹² operations, three digits, never an exponent. @param {number} tflops */
export const work = (tflops) =>
  `${tflops >= 100 ? Math.round(tflops) : tflops.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.max(tflops, 1e-6)))))} TFLOPs`;

/** Micro-dollars of an amount as the service writes it. @param {string} usd */
export const micro = (usd) => Math.round(Number(usd) * 1e6);

/**
 * Dollars without needless zeros: cents at least, and below a cent millionths.
 *
 * @param {string | number} usd decimal text, or a number of them
 */
export function dollars(usd) {
  const text = typeof usd === 'number' ? usd.toFixed(6) : usd;
  const [whole = '0', fraction = ''] = text.replace('-', '').split('.');
  const digits = fraction.replace(/0+$/, '');
  const fewest = whole === '0' && digits.startsWith('00') ? 6 : 2;
  const amount = digits === '' ? whole : `${whole}.${digits.padEnd(fewest, '0')}`;
  return `${text.startsWith('-') ? '−' : ''}$${amount}`;
}

/** How many times one is the other. @param {number} ratio */
export const times = (ratio) => `${ratio >= 10 ? Math.round(ratio) : ratio.toFixed(1)}×`;

/** @param {number} count @param {string} one */
export const counted = (count, one) => `${count} ${one}${count === 1 ? '' : 's'}`;
