"""The evaluation's detector, from sprites to its own accuracy: python lab/detector/train.py

Writes places.onnx, things.onnx, facts.json and reference.safetensors beside itself, and the reference numbers of
lab/test/detect.test.ts; about 15 minutes on one core. It knows the 64 names and 7 colours of the scenes and two styles.
The whole pictures that `Places` learns from mix none of the combinations kept for the evaluation; the crops that
`Things` learns from may, see `pictures.Crops`. `--only measure` measures what is there.
"""

import argparse
import math
import os
import random
import time

import torch
import torch.nn.functional as F

import nets
import pictures
import run  # of lab/train, where sprites looks too

HERE = os.path.dirname(os.path.abspath(__file__))


def fit(net: torch.nn.Module, steps: int, peak: float, loss_of, say: str) -> None:
    """AdamW, in bf16 where the processor has it; the rate rises for a tenth and falls to nothing along a cosine."""
    net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), peak, (0.9, 0.98), weight_decay=0.02)
    begin, running = time.time(), None
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1, (step + 1) / (0.1 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss, told = loss_of()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2)
        optimizer.step()
        running = told if running is None else [0.95 * a + 0.05 * b for a, b in zip(running, told, strict=True)]
        if step % 50 == 49:
            print(
                f"{say} {step + 1}/{steps}, {time.time() - begin:.0f} s, {' '.join(f'{each:.3f}' for each in running)}",
                flush=True,
            )


def through(net: torch.nn.Module, x: torch.Tensor):
    with run.mixed_precision("cpu"):
        return net(x.contiguous(memory_format=torch.channels_last))


def places_loss(net: nets.Places, small: pictures.Small, count: int):
    """CenterNet's focal loss on the heat (arXiv 1904.07850, eq. 1), L1 on the rest near the centres."""
    x, target = small.batch(count)
    out, heat = through(net, x).float(), target[:, 0]
    log_p, log_q, p = F.logsigmoid(out[:, 0]), F.logsigmoid(-out[:, 0]), out[:, 0].sigmoid()
    hit = heat == 1
    focal = -(torch.where(hit, (1 - p) ** 2 * log_p, (1 - heat) ** 4 * p**2 * log_q)).sum() / hit.sum().clamp(min=1)
    close = (heat > 0.5).float()[:, None]
    box = (close * (out[:, 1:] - target[:, 1:]).abs()).sum() / close.sum()
    return focal + box, [focal.item(), box.item()]


def things_loss(net: nets.Things, crops: pictures.Crops, count: int):
    """Cross entropy with smoothed names; a colour's loss is that of all right answers together."""
    x, names, colours = crops.batch(count)
    name, colour, _ = (each.float() for each in through(net, x))
    asked = colours.sum(1) > 0
    log_p = F.log_softmax(colour, 1)
    hue = -torch.logsumexp(log_p.masked_fill(colours == 0, -1e4), 1)[asked].mean()
    what = F.cross_entropy(name, names, ignore_index=-1, label_smoothing=0.03)
    return what + hue, [what.item(), hue.item(), (name.argmax(1) == names)[names >= 0].float().mean().item()]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--only", choices=["train", "measure"])
    args.add_argument("--places", type=int, default=900)
    args.add_argument("--things", type=int, default=2800)
    args.add_argument("--out", default=HERE)
    a = args.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    if a.only != "measure":
        begin = time.time()
        crops = pictures.Crops(4000, 1)
        print(
            f"{len(crops.variants)} variants and {len(crops.bank) - len(crops.variants)} to refuse,"
            f" {time.time() - begin:.0f} s",
            flush=True,
        )
        if a.places:
            places, small = nets.Places(), pictures.Small(crops, 6000, 2)
            print(f"small pictures, {time.time() - begin:.0f} s", flush=True)
            fit(places, a.places, 3e-3, lambda: places_loss(places, small, 32), "places")
            nets.export(places, os.path.join(a.out, "places.onnx"), ["places"])
            del small
        if a.things:
            things = nets.Things()
            fit(things, a.things, 3e-3, lambda: things_loss(things, crops, 112), "things")
            nets.export(things, os.path.join(a.out, "things.onnx"), ["names", "colours", "features"])
        print(f"trained, {time.time() - begin:.0f} s", flush=True)
    if a.only != "train":
        import measure

        measure.main(a.out)


if __name__ == "__main__":
    main()
