/** `npm run bench`: every figure the documentation states, measured here and now, into docs/benchmarks.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { arch, cpus, platform, totalmem } from 'node:os';
import { benchCpu } from './bench/cpu.ts';
import { benchLooks } from './bench/looks.ts';
import { benchMemory } from './bench/memory.ts';
import { benchMoney } from './bench/money.ts';
import { type BenchOptions, HELP, parseOptions, roundsOf, type Section } from './bench/options.ts';
import { benchPage } from './bench/page.ts';
import { benchPlaces } from './bench/places.ts';
import { benchRequests, type Way, type WayTimes } from './bench/requests.ts';
import { benchRows, ROW_CASES } from './bench/rows.ts';
import { sayRows } from './bench/say-rows.ts';
import { benchStreams } from './bench/streams.ts';
import { ms, table } from './bench/table.ts';
import { ROOT } from './local/bundle.ts';
import { findChromium, NO_CHROMIUM } from './local/chromium.ts';
import { runCommand } from './local/command-line.ts';

// the size that the embedded model is trained at, whatever sizes are asked for: what is measured is the waiting
const STREAMS = { size: { width: 256, height: 256 }, requests: 20, crowd: 10 } as const;

/** requests whose money is timed */
const PAID_REQUESTS = 200;

/** images whose rows are counted */
const COUNTED_IMAGES = 5;
/** how long one of them waits for a slot */
const WAIT_MS = 60_000;

/** how often each page is opened, and what the page is held to */
const OPENINGS = 9;
const SHELL_GOAL_BYTES = 60_000;
const USABLE_GOAL_MS = 1000;

const WAYS: readonly Way[] = [
  { name: '4x', body: { preset: '4x' } },
  { name: '5x', body: { preset: '5x' } },
  { name: '7x', body: { preset: '7x' } },
  { name: '7x, no previews', body: { preset: '7x', preview: false } },
  { name: '7 plain steps', body: { N: [7], e: [1] } },
];

const versionOf = (name: string): string =>
  (JSON.parse(readFileSync(`${ROOT}node_modules/${name}/package.json`, 'utf8')) as { version: string }).version;
function requestTable(ways: readonly WayTimes[]): string {
  return table(
    [
      'way',
      'denoising ms',
      'decode',
      'encode',
      'orchestration',
      'request ms',
      'denoising, times faster',
      'FLOPs allow',
      'request, times faster',
    ],
    ways.map((way) => [
      way.name,
      ms(way.denoise),
      ms(way.decode),
      ms(way.encode),
      ms(way.orchestration),
      ms(way.total),
      times(way.denoiseRatio),
      times(way.flopRatio),
      times(way.totalRatio),
    ]),
  );
}

const times = (value: number): string => `${value.toFixed(2)}x`;

type Say = (...lines: readonly string[]) => void;

async function mathematics(say: Say): Promise<void> {
  say('## The mathematics', '', 'Median milliseconds of 50 calls. workerd’s clock ticks in whole milliseconds.', '');
  say(
    table(
      ['what', 'Node', 'workerd'],
      (await benchPlaces()).map(({ name, node, workerd }) => [name, node.toFixed(2), workerd.toFixed(0)]),
    ),
    '',
  );
}

async function requests(say: Say, { engines, sides, rounds: mostRounds }: BenchOptions): Promise<void> {
  const runs = engines.flatMap((engine) => sides.map((side) => ({ engine, side })));
  for (const { engine, side } of runs) {
    const rounds = roundsOf({ engine, side, rounds: mostRounds });
    say(
      `## Requests at ${side}², ${engine} engine`,
      '',
      `Medians of ${rounds} rounds; in each round every way comes once, so the ratios to the plain run are within a round. A request is timed by its caller, from before the POST to the last event. Orchestration is what of it no stage server reported: Worker, plan, object, storage, transfers, Canny, selection, events. All requests have the same prompt, which the stage server encodes once and keeps.`,
      '',
    );
    const measured = await benchRequests({ engine, size: { width: side, height: side }, ways: WAYS, rounds });
    if (!measured.isOffered)
      say(
        `The embedded model is not trained at ${side}², so these pictures mean nothing: what is timed is a copy whose manifest lists that size, by the same graphs.`,
        '',
      );
    say(requestTable(measured.times), '');
  }
}

async function streams(say: Say, { engines }: BenchOptions): Promise<void> {
  const engine = engines[0]!;
  say(
    `## Streams of the OpenAI surface at ${STREAMS.size.width}², ${engine} engine`,
    '',
    `Medians of ${STREAMS.requests} requests with two partial images, 7x and plain in turn, then ${STREAMS.crowd} streams at once; milliseconds from before the request. A stage server computes one stage at a time, so of ${STREAMS.crowd} at once each waits for the others.`,
    '',
    table(
      ['stream', 'first event', 'first partial image', 'its share of the whole', 'picture', 'stage compute'],
      (await benchStreams({ engine, ...STREAMS })).map(
        ({ name, firstEvent, firstPartial, partialShare, final, compute }) => [
          name,
          ms(firstEvent),
          firstPartial === null ? '–' : ms(firstPartial),
          partialShare === null ? '–' : `${(100 * partialShare).toFixed(0)} %`,
          ms(final),
          ms(compute),
        ],
      ),
    ),
    '',
  );
  say(
    '### Looking at a running job',
    '',
    `A job watched with thumbnails, and the same watched without; ${STREAMS.requests} of each in turn. Denoising and the whole are medians, the processor time of workerd is a mean, in milliseconds; what comes after a slash is without thumbnails. Nothing of a thumbnail is stored.`,
    '',
    table(
      ['job', 'thumbnails', 'bytes each', 'ms each of the server’s thread', 'denoising', 'whole', 'CPU of workerd'],
      (await benchLooks({ engine, size: STREAMS.size, requests: STREAMS.requests, presets: ['7x', 'plain'] })).map(
        ({ name, thumbnails, bytesEach, serverMs, seen, unseen }) => [
          name,
          thumbnails.toFixed(1),
          bytesEach.toFixed(0),
          ms(serverMs),
          `${ms(seen.denoising)} / ${ms(unseen.denoising)}`,
          `${ms(seen.whole)} / ${ms(unseen.whole)}`,
          `${ms(seen.cpu)} / ${ms(unseen.cpu)}`,
        ],
      ),
    ),
    '',
  );
}

async function money(say: Say): Promise<void> {
  const measured = await benchMoney(PAID_REQUESTS);
  say(
    '## What money adds to a request',
    '',
    `Medians of ${PAID_REQUESTS} requests in local workerd, databases on disk; milliseconds over the way there and back, which takes ${ms(measured.nothing)}. A hold has the question of the job whether it may begin in it.`,
    '',
    table(
      ['opening with a key', 'hold', 'charge', 'together'],
      [[measured.authenticate, measured.hold, measured.settle, measured.together].map(ms)],
    ),
    '',
    `A job of one account – entered, begun, charged and forgotten, in four requests – takes ${measured.cpuPerJob.toFixed(2)} ms of CPU in workerd, sender included; an object does one thing at a time.`,
    '',
  );
}

async function rows(say: Say): Promise<void> {
  const measured = await benchRows(ROW_CASES, COUNTED_IMAGES, WAIT_MS);
  say('## What an image costs on Cloudflare', '', ...sayRows(measured, COUNTED_IMAGES), '');
}

async function memory(say: Say): Promise<void> {
  say('## Memory of jobs at the size of FLUX, 1024²', '', await benchMemory(), '');
}

async function cpu(say: Say): Promise<void> {
  say('## Processor time of a job', '', await benchCpu(), '');
}

async function page(say: Say): Promise<void> {
  say('## The page', '');
  const executablePath = findChromium();
  if (executablePath === null) {
    say(`Not measured: ${NO_CHROMIUM}.`, '');
    return;
  }
  const measured = await benchPage(executablePath, OPENINGS);
  const kilobytes = ({ files, bytes }: { files: number; bytes: number }): string =>
    files === 0 ? '–' : `${(bytes / 1000).toFixed(1)} kB in ${files}`;
  say(
    `Chromium, each time with nothing in its cache; bodies as the local server sends them, with gzip, counted in thousands of bytes and in files. The shell is everything that the page loads but the recorded race and the answers of the service. A page can be used when its form stands there, with the models to choose from, or the contents of the reference. The time is from the beginning of the navigation, the median of ${OPENINGS}. The page is held to ${SHELL_GOAL_BYTES / 1000} kB and ${USABLE_GOAL_MS} ms.`,
    '',
    table(
      ['what', 'shell', 'recording', 'answers', 'can be used after ms'],
      measured.map(({ name, shell, recording, answers, usableMs }) => [
        name,
        kilobytes(shell),
        kilobytes(recording),
        kilobytes(answers),
        ms(usableMs),
      ]),
    ),
    '',
  );
}

/** The sections of the document, in their order. */
const SECTIONS: Readonly<Record<Section, (say: Say, options: BenchOptions) => Promise<void>>> = {
  mathematics,
  requests,
  streams,
  money,
  rows,
  memory,
  cpu,
  page,
};

/** Measures what the options ask for, printed as it comes, and writes the document unless only a part was asked for. */
async function bench(options: BenchOptions): Promise<number> {
  const lines: string[] = [];
  const say: Say = (...more) => {
    lines.push(...more);
    console.log(more.join('\n'));
  };
  if (options.only !== null) {
    await SECTIONS[options.only](say, options);
    return 0;
  }
  const [processor] = cpus();
  say(
    '# Benchmarks',
    '',
    `Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} cores of ${processor?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${platform()} ${arch()}; Node ${process.versions.node}, workerd ${versionOf('workerd')}, onnxruntime ${versionOf('onnxruntime-node')}.`,
    'Absolute times are of this machine at that hour; the ratios are what to compare.',
    'Crowds, and an hour of random kills, are measured by `npm run soak -- --crowd`: [what it told](operate.md#fleets-and-crowds-tried-by-doing-it).',
    '',
  );
  for (const section of Object.values(SECTIONS)) await section(say, options);
  writeFileSync(`${ROOT}docs/benchmarks.md`, lines.join('\n'));
  return 0;
}

await runCommand({ command: 'npm run bench', help: HELP, parse: parseOptions, run: bench });
