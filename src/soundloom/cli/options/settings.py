"""The settings that may follow an adapter on the command line, as in `--lora FILE strength=0.5 steps=2-8`."""

import re

SEPARATOR = "\n"  # joins an adapter and its settings to one value
ALIASES = {"interval": "sigma", "layer_filter": "off"}  # of other programs
SETTINGS = ("strength", "mode", "sigma", "steps", "only", "off", "layers", "curve", *ALIASES)
SETTING = re.compile(rf"({'|'.join(SETTINGS)})=.*|[a-z_]+=\S*", re.DOTALL)  # a misspelled one is reported later
