/**
 * The processor as far as it decides the bytes of the native engine. ONNX Runtime picks its kernels when it starts, by
 * what the processor can do, and they round differently.
 * Source: https://github.com/microsoft/onnxruntime/blob/main/onnxruntime/core/mlas/lib/platform.cpp
 */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** x64: kernels of one rung replace those of the rungs before it. A rung needs every flag of its list. */
const RUNGS = [
  ['sse4.1', ['sse4_1']],
  ['avx', ['avx']],
  ['avx2', ['avx2', 'fma']],
  ['avx512f', ['avx512f']],
  ['avx512', ['avx512bw', 'avx512dq', 'avx512vl']],
] as const;

/** x64: chosen beside the rung. `hybrid_cpu` changes how work is cut for the threads. */
const X64_EXTRAS = [
  ['avxvnni', ['avx_vnni']],
  ['avxvnniint8', ['avx_vnni_int8']],
  ['avx512vnni', ['avx512_vnni']],
  ['amx', ['amx_tile', 'amx_int8']],
  ['hybrid', ['hybrid_cpu']],
] as const;

const ARM64_EXTRAS = [
  ['dot', ['asimddp']],
  ['fp16', ['asimdhp']],
  ['bf16', ['bf16']],
  ['i8mm', ['i8mm']],
  ['sve', ['sve']],
  ['sme', ['sme']],
] as const;

type Family = readonly [name: string, flags: readonly string[]];

export interface ProcessorFacts {
  /** `process.platform` and `process.arch`: another build of the library is another program */
  readonly platform: string;
  readonly arch: string;
  /** Linux's /proc/cpuinfo; null elsewhere */
  readonly cpuinfo: string | null;
  /** the name of the processor, which stands in where its instruction sets cannot be read */
  readonly model: string;
}

/**
 * The processor in one word: `linux-x64+avx2`, `linux-arm64+dot+fp16/0x41-0xd0c`, `darwin-arm64/Apple-M2`. Law: two
 * processors with the same word get the same kernels.
 */
export function describeProcessor({ platform, arch, cpuinfo, model }: ProcessorFacts): string {
  const system = `${platform}-${arch}`;
  const valuesOf = (key: string): string[] => [
    ...new Set(
      [...(cpuinfo ?? '').matchAll(new RegExp(`^${key}\\s*: (.*)$`, 'gm'))].map(([, value]) => value as string),
    ),
  ];
  // cores of two kinds: only what all of them can do counts
  const cores = valuesOf(arch === 'x64' ? 'flags' : 'Features').map((line) => new Set(line.trim().split(/\s+/)));
  const has = ([, flags]: Family): boolean => flags.every((flag) => cores.every((core) => core.has(flag)));
  const names = (families: readonly Family[]): string[] => families.filter(has).map(([name]) => name);

  if (cores.length > 0 && arch === 'x64') {
    const upTo = RUNGS.findIndex((rung) => !has(rung));
    const rung = RUNGS[(upTo < 0 ? RUNGS.length : upTo) - 1]?.[0] ?? 'sse2';
    return [system, rung, ...names(X64_EXTRAS)].join('+');
  }
  // an arm64 kernel may also be chosen for one design of core
  const parts = valuesOf('CPU implementer').flatMap((maker) =>
    valuesOf('CPU part').map((part) => `${maker.trim()}-${part.trim()}`),
  );
  if (cores.length > 0 && arch === 'arm64' && parts.length > 0)
    return `${[system, ...names(ARM64_EXTRAS)].join('+')}/${parts.toSorted().join('/')}`;
  return `${system}/${model.replace(/[^A-Za-z0-9.]+/g, '-').slice(0, 60) || 'unknown'}`;
}

/** This machine's processor. */
export function readProcessor(): ProcessorFacts {
  return {
    platform: process.platform,
    arch: process.arch,
    cpuinfo: process.platform === 'linux' ? readCpuinfo() : null,
    model: cpus()[0]?.model ?? '',
  };
}

function readCpuinfo(): string | null {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return null; // a container may hide it: the model's name stands in
  }
}
