"""The transformer and its text encoder, trained by flow matching. python scripts/train/transformer.py --minutes 80 (needs latents.py's files); starts again where it stopped.

velocity = noise - data at sigma from 1 (noise) to 0 (data), sigma logit-normal and shifted as the sampler shifts it. A batch holds pictures of one shape with captions of one
length, so nothing is padded; a step adds up several batches. Only whole grids with integer position ids are ever seen: mixed resolution is no part of training.
"""
import argparse, math, os, random
from collections import defaultdict
import torch, torch.nn as nn
from diffusers import FluxTransformer2DModel
from PIL import Image
from tokenizers import Tokenizer
import autoencoder, latents, run, text

SHIFTS = ((64, 1.5), (1024, 3.))                                       # (tokens, shift): log-linear between
SIZES = {                                                              # FLUX.1-dev is 19, 38, 128, 24, 4096, 768, (16, 56, 56) with guidance
    "mini": dict(num_layers=2, num_single_layers=6, attention_head_dim=64, num_attention_heads=4, axes_dims_rope=(8, 28, 28)),
    "small": dict(num_layers=2, num_single_layers=5, attention_head_dim=64, num_attention_heads=5, axes_dims_rope=(8, 28, 28)),
}
# easy first: from this progress on, the share of scenes with a single object, and the share of the tokens computed of each (width, height)
CURRICULUM = [
    (0., .9, {(128, 128): 1.}),
    (.2, .5, {(128, 128): .94, (256, 128): .03, (128, 256): .03}),
    (.5, .5, {(256, 256): .77, (128, 128): .17, (256, 128): .03, (128, 256): .03}),
    (.85, .5, {(512, 512): .5, (256, 256): .34, (512, 256): .03, (256, 512): .03, (128, 128): .06, (256, 128): .02, (128, 256): .02}),
]
PREVIEW = ["a fox", "a blue apple and a red heart", "a dog to the left of a tree on a yellow background", "three balloons", "a rocket above a house on blue", "a cat and a guitar", "four bees on pink",
           "an owl on a gray background", "a football", "a bear on an orange background", "a penguin on a background fading from blue to pink", "two lemons", "a green crown", "a robot", "a bicycle", "an apple, a car and a star"]


def shift_for(tokens: int) -> float:
    (a, low), (b, high) = SHIFTS
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * min(1, max(0, math.log(tokens / a) / math.log(b / a))))


def build(size: str) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(patch_size=1, in_channels=64, joint_attention_dim=text.WIDTH, pooled_projection_dim=text.WIDTH, guidance_embeds=False, **SIZES[size])


class Velocity(nn.Module):
    """Text encoder and transformer as one: (x [b, n, 64], sigma [b], input_ids [b, t], img_ids [n, 3]) → velocity [b, n, 64]."""
    def __init__(self, size: str, vocabulary: int):
        super().__init__()
        self.text, self.transformer = text.TextEncoder(vocabulary), build(size)
    def forward(self, x, sigma, input_ids, img_ids):
        hidden, pooled = self.text(input_ids)
        return self.transformer(hidden_states=x, encoder_hidden_states=hidden, pooled_projections=pooled, timestep=sigma, img_ids=img_ids,
                                txt_ids=torch.zeros(input_ids.shape[1], 3, device=x.device), return_dict=False)[0]


class Pool:
    """The scenes of one shape, by whether they hold a single object and by caption length."""
    def __init__(self, path: str, tokenizer: Tokenizer, device: str):
        content = torch.load(path, weights_only=True)
        rng = random.Random(3)
        self.rows, self.cols, self.x = content["height"] // 16, content["width"] // 16, content["tokens"].to(device)
        self.groups = {True: defaultdict(list), False: defaultdict(list)}
        for i, (caption, task) in enumerate(zip(content["captions"], content["tasks"])):
            ids = text.encode(caption, tokenizer, rng)[:text.MAX_TOKENS]
            self.groups[task == "single"][len(ids)].append((i, ids))
        self.img_ids = latents.grid_ids(self.rows, self.cols).to(device)

    def batch(self, b: int, singles: float, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor]:
        """`b` scenes whose captions have one length, of a single object with chance `singles`: (x [b, n, 64], input_ids [b, t])."""
        by_length = self.groups[rng.random() < singles]
        length = rng.choices(list(by_length), [len(each) for each in by_length.values()])[0]
        chosen = rng.choices(by_length[length], k=b)
        return self.x[[i for i, _ in chosen]].float(), torch.tensor([ids for _, ids in chosen], device=self.x.device)


def optimizers(model: Velocity, muon_rate: float, adam_rate: float):
    """Muon for the matrices inside the blocks, AdamW for embeddings, modulations, projections in and out, and vectors."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        is_block = ("transformer_blocks" in name or "text.layers" in name) and "norm" not in name
        (matrices if parameter.ndim == 2 and is_block else rest).append(parameter)
    return [(torch.optim.Muon(matrices, lr=muon_rate, weight_decay=.01, momentum=.95, adjust_lr_fn="match_rms_adamw"), muon_rate),
            (torch.optim.AdamW(rest, lr=adam_rate, betas=(.9, .98), weight_decay=0), adam_rate)]


@torch.no_grad()
def sample(model: Velocity, captions: list[str], tokenizer: Tokenizer, width: int, height: int, steps: int = 20, seed: int = 0) -> torch.Tensor:
    """Clean latents [b, 16, height / 8, width / 8], normalised. The plain sampler: Euler over the shifted schedule."""
    device, rows, cols = next(model.parameters()).device, height // 16, width // 16
    generator, shift = torch.Generator().manual_seed(seed), shift_for(rows * cols)
    u = torch.linspace(1, 0, steps + 1)
    sigmas = shift * u / (1 + (shift - 1) * u)
    img_ids, result = latents.grid_ids(rows, cols).to(device), []
    for caption in captions:
        ids = torch.tensor([text.encode(caption, tokenizer)], device=device)
        x = torch.randn(1, rows * cols, 64, generator=generator).to(device)
        for a, b in zip(sigmas, sigmas[1:]):
            with torch.autocast(device.type, torch.bfloat16): v = model(x, a[None].to(device), ids, img_ids)
            x = x + (b - a) * v.float()
        result.append(latents.unpack(x, rows, cols))
    return torch.cat(result)


def sample_sheet(model, decoder, mean, std, tokenizer, path, size):
    z = sample(model, PREVIEW, tokenizer, size, size)
    with torch.no_grad(): pictures = torch.cat([decoder(each[None] * std.to(z.device) + mean.to(z.device)) for each in z]).cpu()
    lines = [torch.cat(list(pictures[i:i + 8]), 2) for i in range(0, 16, 8)]
    Image.fromarray(torch.cat(lines, 1).permute(1, 2, 0).clamp(-1, 1).add(1).mul(127.5).round().byte().numpy()).save(path)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", default=".ralu/train"); args.add_argument("--minutes", type=float, default=80); args.add_argument("--size", choices=SIZES, default="mini")
    args.add_argument("--tokens", type=int, default=2048, help="image tokens a batch"); args.add_argument("--batches", type=int, default=2, help="batches a step")
    args.add_argument("--muon", type=float, default=3e-3); args.add_argument("--adam", type=float, default=1.5e-3); args.add_argument("--name", default="transformer")
    args.add_argument("--every", type=float, default=600, help="seconds between checkpoints"); args.add_argument("--compile", action="store_true", help="pays on a GPU; on two cores building takes minutes")
    a = args.parse_args()
    device, path = run.device(), os.path.join(a.out, f"{a.name}.pt")
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    tokenizer = text.build_tokenizer(text.caption_words())
    tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    _, decoder, mean, std = autoencoder.load(a.out, device)
    model = Velocity(a.size, tokenizer.get_vocab_size()).to(device)
    pools = {shape: Pool(os.path.join(a.out, f"latents-{shape[0]}x{shape[1]}.pt"), tokenizer, device) for shape in latents.SHAPES}
    print(f"{sum(p.numel() for p in model.transformer.parameters()) / 1e6:.1f} M parameters, text encoder {sum(p.numel() for p in model.text.parameters()) / 1e6:.1f} M", flush=True)
    optims = optimizers(model, a.muon, a.adam)
    average, step, spent = run.Average(model, .9985), 0, 0.
    if os.path.exists(path):
        old = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(old["raw"]); average.values, average.updates, step, spent = old["average"], old["step"], old["step"], old["spent"]
        for (optimizer, _), state in zip(optims, old["optimizers"]): optimizer.load_state_dict(state)
    rng = random.Random(step)
    forward = torch.compile(model, dynamic=True) if a.compile else model   # one graph for all shapes and lengths

    def loss_of(shape, singles: float) -> torch.Tensor:
        pool = pools[shape]
        x, ids = pool.batch(max(1, a.tokens // (pool.rows * pool.cols)), singles, rng)
        shift = shift_for(pool.rows * pool.cols)
        u = torch.sigmoid(torch.randn(len(x), device=device))
        sigma = shift * u / (1 + (shift - 1) * u)
        noise, s = torch.randn_like(x), sigma[:, None, None]
        with torch.autocast(device, torch.bfloat16): v = forward((1 - s) * x + s * noise, sigma, ids, pool.img_ids)
        return (v.float() - (noise - x)).square().mean()

    clock = run.Clock(a.minutes, spent)
    saved, told, recent = clock.spent, clock.spent, defaultdict(list)
    is_done = clock.progress == 1
    while not is_done:
        _, singles, now = [phase for phase in CURRICULUM if clock.progress >= phase[0]][-1]
        rate = run.warm_then_fall(clock.progress, step, 60)
        for optimizer, peak in optims:
            for group in optimizer.param_groups: group["lr"] = peak * rate
        for _ in range(a.batches):
            shape = rng.choices(list(now), now.values())[0]
            loss = loss_of(shape, singles)
            (loss / a.batches).backward()
            recent[shape].append(loss.item())
        nn.utils.clip_grad_norm_(model.parameters(), 1.)
        for optimizer, _ in optims: optimizer.step(); optimizer.zero_grad()
        average.update(model); step += 1
        if clock.spent - told > 30:
            print(f"{clock.spent:.0f} s, step {step}, " + ", ".join(f"{w}x{h} {sum(v) / len(v):.4f}" for (w, h), v in recent.items()), flush=True)
            told = clock.spent; recent.clear()
        is_done = clock.progress == 1
        if clock.spent - saved > a.every or is_done:
            saved = clock.spent
            raw = {k: v.clone() for k, v in model.state_dict().items()}
            run.save(path, {"raw": raw, "average": average.values, "optimizers": [optimizer.state_dict() for optimizer, _ in optims], "step": step, "spent": clock.spent, "size": a.size})
            model.load_state_dict(average.values)
            for size in (128, 256, 512)[:1 + ((256, 256) in now) + ((512, 512) in now)]: sample_sheet(model, decoder, mean, std, tokenizer, os.path.join(a.out, f"{a.name}-{size}-{round(clock.spent / 60):03d}.png"), size)
            model.load_state_dict(raw)


if __name__ == "__main__": main()
