"""``%fooocus generate``."""

from fooocus_nb.magics.verb import GeneratingVerb

VERB = GeneratingVerb("generate images: [options] PROMPT")
