/**
 * The pictures of the stages in a row, with the selection between the first and the second.
 *
 * @import { Run, StageRun } from './run.js'
 */
import { element, svg } from './element.js';
import { counted, duration } from './figures.js';
import { denoisingMs, hasEnded, numStepsDone } from './run.js';

/**
 * Each token as a square: the low-resolution grid, with the chosen cells as four, or all of them. @param {{ rows:
 * number, cols: number, split: ReadonlySet<number> | 'all' }} grid
 */
function tokenGrid({ rows, cols, split }) {
  const lines = [];
  for (let index = 0; index < rows * cols; index++) {
    const left = (index % cols) * 2;
    const top = Math.floor(index / cols) * 2;
    lines.push(`M${left} ${top}h2v2h-2z`);
    if (split === 'all' || split.has(index)) lines.push(`M${left + 1} ${top}v2M${left} ${top + 1}h2`);
  }
  return svg(
    'svg',
    { class: 'tokens', viewBox: `0 0 ${cols * 2} ${rows * 2}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('path', { d: lines.join(''), 'vector-effect': 'non-scaling-stroke' }),
  );
}

/**
 * Sides of the low-resolution grid: half the picture's tokens a side, in the picture's proportions. @param {Run} run
 */
function lowGrid({ stages, size, selection }) {
  if (selection) return { rows: selection.rows, cols: selection.cols };
  const full = stages.at(-1)?.tokens ?? 1;
  const rows = Math.round(Math.sqrt((full * size.height) / size.width) / 2);
  return { rows, cols: Math.round(full / 4 / rows) };
}

/** @param {StageRun} stage @param {number} count */
function nameOf({ stage }, count) {
  if (stage === count) return 'Full resolution';
  return stage === 1 ? 'Low resolution' : 'Mixed resolution';
}

/**
 * One picture with its caption. It stays in the page while its job is shown, so that focus and pictures stay put; only
 * what changed is written.
 *
 * @param {Run} run
 * @param {StageRun} stage
 */
function makeStage(run, stage) {
  const count = run.stages.length;
  const isFirst = stage.stage === 1 && count > 1;
  const picture = element('img', { alt: '', hidden: true, className: isFirst ? 'coarse' : '' });
  const frame = element('div', { className: 'frame' }, picture);
  frame.style.aspectRatio = `${run.size.width} / ${run.size.height}`;
  const facts = element('span');
  const time = element('span', {}, '–');
  const trouble = element('span', { className: 'trouble', hidden: true });
  const bar = element('progress', { max: stage.steps, value: 0, 'aria-label': `Steps of stage ${stage.stage}` });
  const figure = element(
    'figure',
    { className: 'stage' },
    frame,
    element(
      'figcaption',
      {},
      element('strong', {}, `${stage.stage} · ${nameOf(stage, count)}`),
      facts,
      time,
      trouble,
      bar,
    ),
  );
  figure.dataset.stage = String(stage.stage);
  let drawnGrid = '';

  /** @param {Run} now @param {{ prompt: string, image: string | null, isGridShown: boolean }} look */
  function draw(now, { prompt, image, isGridShown }) {
    const state = /** @type {StageRun} */ (now.stages[stage.stage - 1]);
    const isLast = stage.stage === count;
    const source = isLast ? (now.image ? image : null) : state.picture;
    const isOver = source !== null || (now.stages[stage.stage]?.beganAt ?? null) !== null;
    figure.dataset.state = isOver ? 'done' : state.beganAt === null ? 'waiting' : hasEnded(now) ? 'stopped' : 'running';
    setPicture(
      picture,
      source,
      isLast
        ? `The finished picture of “${prompt}”`
        : `${nameOf(stage, count)} estimate of “${prompt}” after stage ${stage.stage}`,
    );
    const ms = denoisingMs(now, state);
    facts.textContent = `${counted(stage.tokens, 'token')} · ${counted(stage.steps, 'step')}`;
    time.textContent = ms > 0 ? duration(ms) : '–';
    trouble.hidden = state.trouble === null;
    trouble.textContent = state.trouble ?? '';
    bar.value = isOver ? stage.steps : numStepsDone(state);

    /** @type {ReadonlySet<number> | 'all'} */
    const split = isLast ? 'all' : stage.stage === 1 ? new Set() : new Set(now.selection?.indices);
    const isGridDrawn = isGridShown || source === null;
    const key = isGridDrawn ? `${now.selection !== null}` : '';
    if (key === drawnGrid) return;
    drawnGrid = key;
    frame.querySelector('.tokens')?.remove();
    // with four stages or more the later mixed grids follow from a ranking that the events do not tell
    if (isGridDrawn && (isLast || stage.stage <= 2)) frame.append(tokenGrid({ ...lowGrid(now), split }));
  }
  return { figure, draw };
}

/**
 * The selection: edges found in the first picture, the blocks that have most of them; each can be laid over it. @param
 * {Run} run
 */
function makeSelection(run) {
  const base = element('img', { alt: '', className: 'coarse dim', hidden: true });
  const blocks = element('img', { alt: '', className: 'coarse', hidden: true });
  const edges = element('img', { alt: '', className: 'coarse', hidden: true });
  const frame = element('div', { className: 'frame' }, base, blocks, edges);
  frame.style.aspectRatio = `${run.size.width} / ${run.size.height}`;
  const facts = element('span');
  const time = element('span', {}, '–');
  /** @param {string} name @param {() => void} onPress */
  const toggle = (name, onPress) => {
    const button = element('button', { type: 'button', 'aria-pressed': 'true' }, name);
    button.onclick = () => {
      button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true'));
      onPress();
    };
    return button;
  };
  const isOn = (/** @type {Element} */ button) => button.getAttribute('aria-pressed') === 'true';
  const show = () => {
    const has = edges.hasAttribute('src');
    edges.hidden = !(has && isOn(edgeButton));
    blocks.hidden = !(has && isOn(blockButton));
    base.classList.toggle('dim', has && isOn(edgeButton));
  };
  const edgeButton = toggle('Edges', show);
  const blockButton = toggle('Blocks', show);
  const figure = element(
    'figure',
    { className: 'stage' },
    frame,
    element(
      'figcaption',
      {},
      element('strong', {}, 'Edges and blocks'),
      facts,
      time,
      element('div', { className: 'layers' }, edgeButton, blockButton),
    ),
  );
  figure.dataset.stage = 'selection';

  /** @param {Run} now */
  function draw(now) {
    const { selection } = now;
    figure.dataset.state = selection ? 'done' : 'waiting';
    const first = now.stages[0]?.picture ?? null;
    setPicture(base, first, '');
    setPicture(
      edges,
      selection?.edges ?? null,
      selection?.edges ? 'Edges found in the picture of stage 1, in white' : '',
    );
    setPicture(
      blocks,
      selection?.blocks ?? null,
      selection
        ? `The ${counted(selection.indices.length, 'block')} with most ${selection.edges ? 'edges' : 'detail'}, tinted`
        : '',
    );
    show();
    const total = run.stages[0]?.tokens ?? 0;
    facts.textContent = `${selection?.indices.length ?? run.plan?.selected[0] ?? 0} of ${counted(total, 'block')}`;
    // without any edge the order of the blocks decides; a Worker's clock may stand still while it computes
    const edgePixels = selection?.edgePixels ?? null;
    const found =
      edgePixels === null
        ? 'by latent detail'
        : edgePixels === 0
          ? 'no edges found'
          : counted(edgePixels, 'edge pixel');
    time.textContent = selection ? `${found}${selection.ms > 0 ? ` · ${duration(selection.ms)}` : ''}` : '–';
  }
  return { figure, draw };
}

/** @param {HTMLImageElement} picture @param {string | null} source @param {string} words */
function setPicture(picture, source, words) {
  picture.hidden = source === null;
  if (source === null) {
    picture.removeAttribute('src');
    picture.alt = '';
  } else if (picture.getAttribute('src') !== source) {
    picture.src = source;
    picture.alt = words;
    picture.classList.add('arrived');
    picture.addEventListener('animationend', () => picture.classList.remove('arrived'), { once: true });
  }
}

/** Rows of stages for the jobs shown one after the other in `host`. @param {Element} host */
export function makeStages(host) {
  /** @type {string} */
  let shape = '';
  /**
   * @type {{ figure: HTMLElement, draw: (run: Run, look: { prompt: string, image: string | null, isGridShown: boolean
   * }) => void }[]}
   */
  let figures = [];

  /** @param {Run} run @param {{ prompt: string, image: string | null, isGridShown: boolean }} look */
  return function draw(run, look) {
    const next = JSON.stringify([run.size, run.stages.map(({ tokens, steps }) => [tokens, steps])]);
    if (next !== shape) {
      shape = next;
      figures = run.stages.flatMap((stage) => [
        makeStage(run, stage),
        ...(stage.stage === 1 && (run.plan?.selected.length ?? 0) > 0 && run.plan?.selection !== 'none'
          ? [makeSelection(run)]
          : []),
      ]);
      host.replaceChildren(...figures.map(({ figure }) => figure));
    }
    for (const figure of figures) figure.draw(run, look);
  };
}
