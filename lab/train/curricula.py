"""What a training sees at which progress: easy scenes first, and several objects once one is known."""

# from this progress on: the share of scenes with a single object, and the share of the tokens computed of each (width, height)
CURRICULA = {
    "cores": [
        (0., .7, {(128, 128): 1.}),
        (.1, .75, {(128, 128): .15, (256, 256): .85}),
        (.35, .22, {(128, 128): .22, (256, 256): .78}),
        (.57, .15, {(128, 128): .72, (256, 256): .28}),
        (.68, .28, {(128, 128): .28, (256, 256): .72}),
        (.8, .2, {(128, 128): .17, (256, 256): .83}),
        (.94, .25, {(128, 128): .13, (256, 256): .77, (256, 128): .04, (128, 256): .04, (128, 64): .01, (64, 128): .01}),
    ],
    "gpu": [
        (0., .9, {(128, 128): 1.}),
        (.1, .3, {(128, 128): .88, (256, 128): .03, (128, 256): .03, (128, 64): .03, (64, 128): .03}),
        (.35, .25, {(256, 256): .78, (128, 128): .1, (256, 128): .04, (128, 256): .04, (128, 64): .02, (64, 128): .02}),
        (.65, .25, {(512, 512): .5, (256, 256): .32, (512, 256): .06, (256, 512): .06, (128, 128): .02, (256, 128): .02, (128, 256): .02}),
    ],
}


def shapes(name: str) -> set[tuple[int, int]]:
    """Every (width, height) a curriculum uses."""
    return {shape for *_, shares in CURRICULA[name] for shape in shares}
