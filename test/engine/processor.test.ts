/** The word for a processor tells apart what ONNX Runtime chooses its kernels by, and nothing else. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeProcessor, type ProcessorFacts, readProcessor } from '../../containers/onnx/engine/processor.ts';

const x64 = (flags: string, cores = 2): ProcessorFacts => ({
  platform: 'linux',
  arch: 'x64',
  cpuinfo: Array.from(
    { length: cores },
    (_, i) =>
      `processor\t: ${i}\nmodel name\t: Some CPU @ ${i} GHz\nflags\t\t: fpu sse2 ${flags}\nbogomips\t: 5000.00\n`,
  ).join('\n'),
  model: 'Some CPU',
});
const AVX2 = 'sse4_1 sse4_2 avx f16c fma avx2 bmi2';

describe('on x64 the word', () => {
  it.each([
    ['', 'linux-x64+sse2'],
    ['sse4_1', 'linux-x64+sse4.1'],
    ['sse4_1 avx', 'linux-x64+avx'],
    ['sse4_1 avx avx2', 'linux-x64+avx'], // the kernels for AVX2 need FMA
    [AVX2, 'linux-x64+avx2'],
    [`${AVX2} avx_vnni`, 'linux-x64+avx2+avxvnni'],
    [`${AVX2} avx512f`, 'linux-x64+avx512f'],
    [`${AVX2} avx512f avx512dq avx512bw`, 'linux-x64+avx512f'],
    [`${AVX2} avx512f avx512dq avx512bw avx512vl avx512_vnni`, 'linux-x64+avx512+avx512vnni'],
    [
      `${AVX2} avx512f avx512dq avx512bw avx512vl avx512_vnni avx_vnni amx_bf16 amx_tile amx_int8`,
      'linux-x64+avx512+avxvnni+avx512vnni+amx',
    ],
  ])('for "%s" is %s', (flags, word) => {
    expect(describeProcessor(x64(flags))).toBe(word);
  });

  it('does not depend on the order of flags, on flags that decide nothing, on clocks or on the number of cores', () => {
    const flags = [...AVX2.split(' '), 'avx_vnni'];
    const others = fc.subarray(['ht', 'aes', 'rdrand', 'sha_ni', 'avx512_bf16', 'hypervisor']);
    fc.assert(
      fc.property(
        fc.shuffledSubarray(flags, { minLength: flags.length }),
        others,
        fc.integer({ min: 1, max: 8 }),
        (order, more, cores) => {
          expect(describeProcessor(x64([...more, ...order].join(' '), cores))).toBe('linux-x64+avx2+avxvnni');
        },
      ),
    );
  });

  it('says what all cores can do where they differ', () => {
    const { cpuinfo } = x64(`${AVX2} avx512f`, 1);
    expect(describeProcessor({ ...x64(AVX2, 1), cpuinfo: `${cpuinfo}\n${x64(AVX2, 1).cpuinfo}` })).toBe(
      'linux-x64+avx2',
    );
  });
});

it('on arm64 the word names the design of the cores as well', () => {
  const core = (part: string, more = '') =>
    `BogoMIPS\t: 243.75\nFeatures\t: fp asimd fphp asimdhp asimddp ${more}\nCPU implementer\t: 0x41\nCPU part\t: ${part}\n`;
  const arm64 = (cpuinfo: string): ProcessorFacts => ({ platform: 'linux', arch: 'arm64', cpuinfo, model: 'unknown' });
  expect(describeProcessor(arm64(core('0xd0c')))).toBe('linux-arm64+dot+fp16/0x41-0xd0c');
  expect(describeProcessor(arm64(core('0xd4f', 'bf16 i8mm sve')))).toBe(
    'linux-arm64+dot+fp16+bf16+i8mm+sve/0x41-0xd4f',
  );
  expect(describeProcessor(arm64(`${core('0xd46')}\n${core('0xd4d', 'bf16')}`))).toBe(
    'linux-arm64+dot+fp16/0x41-0xd46/0x41-0xd4d',
  );
});

it('where the instruction sets cannot be read, the name of the processor stands in', () => {
  const without = { arch: 'arm64', cpuinfo: null };
  expect(describeProcessor({ ...without, platform: 'darwin', model: 'Apple M2' })).toBe('darwin-arm64/Apple-M2');
  expect(
    describeProcessor({
      platform: 'win32',
      arch: 'x64',
      cpuinfo: null,
      model: 'Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz',
    }),
  ).toBe('win32-x64/Intel-R-Core-TM-i7-9750H-CPU-2.60GHz');
  expect(describeProcessor({ ...without, platform: 'linux', model: '' })).toBe('linux-arm64/unknown');
  expect(describeProcessor({ platform: 'linux', arch: 'x64', cpuinfo: 'processor\t: 0\n', model: 'x' })).toBe(
    'linux-x64/x',
  );
});

it('of this machine is one short word', () => {
  expect(describeProcessor(readProcessor())).toMatch(/^[a-z0-9]+-[a-z0-9]+[!-~]{1,120}$/);
});
