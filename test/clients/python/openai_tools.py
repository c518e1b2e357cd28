"""Tools that draw with OpenAI's client in Python, as they come; and Together's client, and the one for Azure."""

# each client is imported where it is used
# ruff: noqa: E402

import base64
import io
import os
import warnings

warnings.filterwarnings("ignore")

import httpx
from openai import AzureOpenAI, NotFoundError, OpenAI
from PIL import Image
from say import KEY, URL, say

# the tools read where they draw from the environment
os.environ["OPENAI_API_KEY"] = KEY
os.environ["OPENAI_BASE_URL"] = os.environ["OPENAI_API_BASE"] = f"{URL}/v1"


def size_at(url: str) -> list[int]:
    """The size of the picture at an address that needs no key."""
    return list(Image.open(io.BytesIO(httpx.get(url).content)).size)


def size_in(text: str) -> list[int]:
    return list(Image.open(io.BytesIO(base64.b64decode(text))).size)


from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

say(tool="langchain", size=size_at(DallEAPIWrapper().run("a red apple")))
say(tool="langchain dall-e-3", size=size_at(DallEAPIWrapper(model="dall-e-3", size="1024x1024").run("a red apple")))

from llama_index.tools.openai.image_generation.base import OpenAIImageGenerationToolSpec

tool = OpenAIImageGenerationToolSpec(api_key=KEY, cache_dir="pictures")
say(tool="llama_index", size=size_at(tool.image_generation("a red apple")))
(path,) = tool.image_generation("a red apple", download=True)
say(tool="llama_index download", size=list(Image.open(path).size))

# what CrewAI's DallETool asks of OpenAI's client, and reads
for asked in ("dall-e-3", "1024x1024"), ("dall-e-2", "256x256"):
    drawn = OpenAI().images.generate(prompt="a red apple", model=asked[0], size=asked[1], quality="standard", n=1)
    answer = {
        "image_url": drawn.data[0].url,
        "image_description": drawn.data[0].revised_prompt,
    }
    say(tool=f"crewai {asked[0]}", size=size_at(answer["image_url"]))

from together import Together

answer = Together(api_key=KEY, base_url=URL).images.generate(
    model="gpt-image-1",
    prompt="a red apple",
    width=512,
    height=256,
    steps=4,
    n=1,
    seed=7,
    response_format="base64",
    disable_safety_checker=False,
)
say(tool="together", size=size_in(answer.data[0].b64_json))

azure = AzureOpenAI(azure_endpoint=URL, api_key=KEY, api_version="2025-04-01-preview")
answer = azure.images.generate(model="gpt-image-1", prompt="a red apple", size="256x256")
say(tool="azure", size=size_in(answer.data[0].b64_json))
try:
    azure.images.generate(model="mine", prompt="a red apple")
except NotFoundError as error:
    say(tool="azure", code=error.code)

client = OpenAI()
say(tool="models", listed="dall-e-3" in [model.id for model in client.models.list()])
say(tool="models", id=client.models.retrieve("dall-e-3").id)
beside = OpenAI(base_url=URL)
try:
    beside.images.generate(prompt="a red apple")
except NotFoundError as error:
    say(tool="beside /v1", message=error.body["message"])

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

for model in (f"{URL}/v1/images/generations", f"{URL}/models/black-forest-labs/FLUX.1-dev"):
    try:
        InferenceClient(model=model, token=KEY).text_to_image("a red apple")
    except HfHubHTTPError as error:
        say(tool="hugging face", status=error.response.status_code, message=str(error))
