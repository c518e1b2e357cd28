/** The API reference: the explorer in the colours of the page, light or dark, with the document of this service. */

const explorer = /** @type {HTMLElement} */ (document.querySelector('openapi-explorer'));

/** Attributes of the explorer and the colours of ground.css that they have. */
const COLOURS = {
  'bg-color': '--card',
  'header-bg-color': '--sunk',
  'text-color': '--ink',
  'header-color': '--ink',
  'primary-color': '--accent',
  'secondary-color': '--accent',
  'nav-bg-color': '--ground',
  'nav-text-color': '--ink',
  'nav-hover-bg-color': '--sunk',
  'nav-hover-text-color': '--ink',
};

/** The same for colours that have no attribute. */
const PROPERTIES = {
  '--blue': '--accent',
  '--green': '--text-green',
  '--orange': '--warm',
  '--yellow': '--warm',
  '--purple': '--accent',
  '--red': '--bad',
  '--inline-code-fg': '--ink',
  '--code-fg': '--ink',
};

/**
 * A colour of the style sheet as `#rrggbb`, as it is now, light or dark: the explorer takes no other form.
 *
 * @param {string} name
 */
function hexOf(name) {
  explorer.style.color = `var(${name})`;
  const parts = getComputedStyle(explorer).color.match(/\d+/g) ?? [];
  explorer.style.color = '';
  return `#${parts
    .slice(0, 3)
    .map((part) => Number(part).toString(16).padStart(2, '0'))
    .join('')}`;
}

function colour() {
  for (const [property, name] of Object.entries(PROPERTIES)) explorer.style.setProperty(property, hexOf(name));
  for (const [attribute, name] of Object.entries(COLOURS)) explorer.setAttribute(attribute, hexOf(name));
}

colour();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', colour);
explorer.setAttribute('spec-url', new URL('openapi.json', document.baseURI).href);

export {};
