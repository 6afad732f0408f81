"""``%fooocus generate``."""

from fooocus_nb.magics.options import GeneratingVerb

VERB = GeneratingVerb("generate images: [options] PROMPT")
