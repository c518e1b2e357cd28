"""What a training sees at which progress: easy scenes first, and several objects once one is known."""

# from this progress on: the share of scenes with a single object, and the share of the tokens computed of each (width,
# height)
PHASES = [
    (0.0, 0.8, {(128, 128): 1.0}),
    (0.08, 0.25, {(128, 128): 0.92, (256, 128): 0.04, (128, 256): 0.04}),
    (0.3, 0.2, {(256, 256): 0.8, (128, 128): 0.1, (256, 128): 0.05, (128, 256): 0.05}),
    (
        0.62,
        0.2,
        {
            (512, 512): 0.5,
            (256, 256): 0.3,
            (512, 256): 0.06,
            (256, 512): 0.06,
            (128, 128): 0.04,
            (256, 128): 0.02,
            (128, 256): 0.02,
        },
    ),
]
GUIDED_FROM = 0.5  # from this progress on guided velocities are learned

# scenes of each (width, height) at scale 1, in the order that they are composed in
SCENES = {
    (128, 128): 160_000,
    (256, 128): 12_000,
    (128, 256): 12_000,
    (256, 256): 90_000,
    (512, 512): 20_000,
    (512, 256): 5_000,
    (256, 512): 5_000,
}


def phase_at(progress: float) -> tuple[float, dict[tuple[int, int], float]]:
    """(share of scenes with a single object, share of the tokens of each shape)."""
    return [phase[1:] for phase in PHASES if progress >= phase[0]][-1]


def shapes_between(begin: float, end: float) -> list[tuple[int, int]]:
    """Every shape that is seen from progress `begin` to `end`, in the order of SCENES."""
    ends = [phase[0] for phase in PHASES[1:]] + [1.0]
    seen = {
        shape
        for (start, _, shares), stop in zip(PHASES, ends, strict=True)
        if start <= end and stop > begin
        for shape in shares
    }
    return [shape for shape in SCENES if shape in seen]
