/**
 * A job on the terminal while it runs: a bar for each stage, redrawn in place; one line a stage where output is not a
 * terminal.
 */
import type { FollowedEvent } from './client.ts';

export interface Screen {
  readonly isTTY: boolean;
  readonly columns: number;
  write(text: string): void;
}

interface StageBar {
  readonly stage: number;
  readonly stages: number;
  readonly tokens: number;
  readonly steps: number;
  step: number;
  ms: number;
}

const WIDTH = 24;
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar of `width` cells, `share` of it filled to an eighth of a cell. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const cells = '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
  return cells.padEnd(width, '░');
}

function line({ stage, stages, tokens, steps, step, ms }: StageBar, note: string): string {
  const count = `${step}/${steps}`.padStart(5);
  return `stage ${stage}/${stages} ${bar(step / steps, WIDTH)} ${count} steps ${String(tokens).padStart(5)} tokens ${ms.toFixed(0).padStart(6)} ms${note && `  ${note}`}`;
}

/** A function that draws each event of one job in turn. */
export function drawProgress(screen: Screen): (event: FollowedEvent) => void {
  let current: StageBar | null = null;
  let isOpen = false;

  const redraw = (note: string): void => {
    if (!screen.isTTY || !current) return;
    screen.write(`\r\x1b[2K${[...line(current, note)].slice(0, screen.columns - 1).join('')}`);
    isOpen = true;
  };
  // the last state of the stage stays on the screen, and on a pipe it is the only one
  const close = (): void => {
    if (!current) return;
    if (screen.isTTY) redraw('');
    screen.write(screen.isTTY ? '\n' : `${line(current, '')}\n`);
    current = null;
    isOpen = false;
  };
  const say = (text: string): void => screen.write(isOpen ? `\r\x1b[2K${text}\n` : `${text}\n`);

  return (event) => {
    switch (event.type) {
      case 'queued':
        if (event.data.stage !== null)
          current ? redraw('waits for the stage server') : say(`stage ${event.data.stage} waits for the stage server`);
        return;
      case 'plan': {
        const { stages, fitted, tflops, warnings, cost } = event.data;
        const how = fitted ? ', schedule fitted' : '';
        const saving =
          stages.length > 1
            ? `, ${tflops.ratio.toFixed(2)}x less denoising than the plain model (${tflops.ratio_total.toFixed(2)}x less work in all)`
            : '';
        say(`${stages.map(({ tokens, steps }) => `${steps}×${tokens}`).join(' → ')} (steps × tokens)${saving}${how}`);
        if (cost) say(`at most ${cost.quote_usd} USD, the plain model ${cost.plain_usd} USD`);
        for (const warning of warnings) say(`warning  ${warning}`);
        return;
      }
      case 'stage':
        if (current?.stage !== event.data.stage) close();
        current = { ...event.data, step: 0, ms: 0 };
        redraw(event.data.attempt > 1 ? `attempt ${event.data.attempt}` : '');
        return;
      case 'step':
        if (current?.stage !== event.data.stage) return;
        // a stage server that is attached to again replays its steps: count each once
        if (event.data.step <= current.step) return;
        current.step = event.data.step;
        current.ms += event.data.ms;
        redraw(current.step === current.steps && current.stage === current.stages ? 'decoding' : '');
        return;
      case 'retry':
        say(
          `stage ${event.data.stage}: attempt ${event.data.attempt} failed (${event.data.reason}), next in ${event.data.wait_ms} ms`,
        );
        return;
      case 'preview':
        return;
      case 'selection': {
        close();
        const { indices, rows, cols, edge_pixels, ms } = event.data;
        say(
          `selected  ${indices.length} of ${rows * cols} tokens ${edge_pixels === null ? 'with most latent detail' : `along ${edge_pixels} edge pixels`}${' '.repeat(10)}${ms.toFixed(0).padStart(7)} ms`,
        );
        return;
      }
      case 'done':
      case 'failed':
      case 'cancelled':
        close();
    }
  };
}
