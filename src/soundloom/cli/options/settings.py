"""Values that may follow a flag: `--lora FILE strength=0.5 steps=2-8`, `--template music genre=house bpm=124`."""

import re

SEPARATOR = "\n"  # joins an adapter or a template and its settings to one value
ALIASES = {"interval": "sigma", "layer_filter": "off"}  # of other programs
SETTINGS = ("strength", "mode", "sigma", "steps", "only", "off", "layers", "curve", *ALIASES)
SETTING = re.compile(rf"({'|'.join(SETTINGS)})=.*|[a-z_]+=\S*", re.DOTALL)  # a misspelled one is reported later
TEMPLATE_VALUE = re.compile(r"[A-Za-z_]+=.*", re.DOTALL)
