"""The whole training, one command: python lab/train/all.py RECIPE (cpu, gpu or toy). Ended or killed, the same command
goes on where it stopped.

- cpu: two cores, about five hours, scenes that are not free; a shortened sequence, not the runs that made the embedded
  model (its card lists those), and never run as a whole.
- gpu: one H200-class GPU, planned for about 25 minutes, many more scenes, free ones, and 512 x 512; never run on a GPU.
- toy: the steps and sizes of gpu within minutes, for checking that they run; its pictures mean nothing.

The evaluation's Fréchet reference is laid out as the scenes of cpu: a model of gpu must be measured against free
layouts, see `scene_of` in lab/eval/make_prompts.py.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RECIPES = {
    "cpu": {
        "autoencoder": "--minutes 16",
        "latents": "--fixed",
        "transformer": "--minutes 270 --tokens 1536 --muon 2e-3 --adam 1e-3",
        "export": "--sizes 256x256,256x128,128x256 --can 'Draws one to four emoji on a plain or graded background;"
        " several in one picture it gets right only part of the time'",
    },
    "gpu": {
        "autoencoder": "--minutes 6 --batch 128 --crop 128 --scale 2",
        "latents": "--scale 4 --curriculum gpu",
        "transformer": "--minutes 11 --curriculum gpu --tokens 65536 --batches 1 --every 150 --compile",
        "export": "",
    },
    "toy": {
        "autoencoder": "--minutes .4 --scale .02",
        "latents": "--scale .004 --curriculum gpu",
        "transformer": "--minutes 6 --curriculum gpu --tokens 512 --batches 1 --every 120 --compile",
        "export": "",
    },
}


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("recipe", choices=RECIPES)
    args.add_argument("--out", help="where its files go: .ralu/train-RECIPE, so that no recipe goes on with another's")
    args.add_argument("--model", default=".ralu/model")
    a = args.parse_args()
    out = a.out or f".ralu/train-{a.recipe}"
    for step, options in RECIPES[a.recipe].items():
        command = [
            sys.executable,
            os.path.join(HERE, f"{step}.py"),
            *shlex.split(options),
            *(["--from", out, "--out", a.model] if step == "export" else ["--out", out]),
        ]
        print("$", *command[1:], flush=True)
        begin = time.time()
        subprocess.run(command, check=True)
        print(f"{step}: {time.time() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
