/**
 * A new element with properties, attributes and children. Text becomes text nodes: nothing here reads markup. Names
 * with a dash and `role` are attributes, everything else is set as a property; undefined and false children are left
 * out.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [props]
 * @param {...(Node | string | undefined | false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'role' || name.includes('-')) made.setAttribute(name, String(value));
    else Object.assign(made, { [name]: value });
  }
  made.append(...children.filter((child) => child !== undefined && child !== false));
  return made;
}

/**
 * A new SVG element with attributes and children.
 *
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/**
 * The element of the page with this id, known to be there and of this kind.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new RangeError(`the page has no ${kind.name} #${id}`);
  return found;
}

/**
 * Adds the style of a part that is fetched when it is needed, before that of small windows, which has the last word.
 * Resolves once it is there; rejects where it cannot be.
 *
 * @param {string} href
 */
export const addStyle = (href) =>
  new Promise((resolve, reject) => {
    const link = element('link', { rel: 'stylesheet', href, onload: resolve });
    link.onerror = (error) => {
      link.remove();
      reject(error);
    };
    document.querySelector('link[href="style/narrow.css"]')?.before(link);
  });
