"""What can be chosen on the page of Fooocus 2.5.5: names and sizes, not what they do there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import gcd
from typing import TYPE_CHECKING, Any

from fooocus_nb.demo.words import words

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ASPECT_RATIOS",
    "BASE_MODEL",
    "BASE_MODELS",
    "DEFAULT_STYLES",
    "LORAS",
    "PRESETS",
    "REFINERS",
    "SAMPLERS",
    "SCHEDULERS",
    "STYLES",
    "VERSION",
    "Performance",
    "Preset",
    "aspect_ratio",
]

VERSION = "2.5.5"


class Performance(Enum):
    """How much work goes into an image."""

    QUALITY = "Quality"
    SPEED = "Speed"
    EXTREME_SPEED = "Extreme Speed"
    LIGHTNING = "Lightning"
    HYPER_SD = "Hyper-SD"

    @property
    def steps(self) -> int:
        """The number of sampling steps."""
        return {"Quality": 60, "Speed": 30, "Extreme Speed": 8}.get(self.value, 4)

    @property
    def hurried(self) -> bool:
        """Whether it overrides sampler, guidance and sharpness with its own."""
        return self.steps < 30


_SIZES = words(
    "704×1408 704×1344 768×1344 768×1280 832×1216 832×1152 896×1152 896×1088 960×1088 960×1024 "
    "1024×1024 1024×960 1088×960 1088×896 1152×896 1152×832 1216×832 1280×768 1344×768 1344×704 "
    "1408×704 1472×704 1536×640 1600×640 1664×576 1728×576"
)


def aspect_ratio(size: str) -> str:
    """Return a size as the page offers it.

    Parameters
    ----------
    size : str
        Such as ``1152×896``.

    Returns
    -------
    str
        The size and, in grey, its ratio.
    """
    width, height = map(int, size.split("×"))
    common = gcd(width, height)
    ratio = f"{width // common}:{height // common}"
    return f'{size} <span style="color: grey;"> ∣ {ratio}</span>'


ASPECT_RATIOS = [aspect_ratio(size) for size in _SIZES]

BASE_MODEL = "juggernautXL_v8Rundiffusion.safetensors"
BASE_MODELS = [
    BASE_MODEL,
    "animaPencilXL_v500.safetensors",
    "realisticStockPhoto_v20.safetensors",
]
REFINERS = ["None", *BASE_MODELS]
LORAS = ["None", "sd_xl_offset_example-lora_1.0.safetensors"]

SAMPLERS = words(
    "euler euler_ancestral heun heunpp2 dpm_2 dpm_2_ancestral lms dpm_fast dpm_adaptive "
    "dpmpp_2s_ancestral dpmpp_sde dpmpp_sde_gpu dpmpp_2m dpmpp_2m_sde dpmpp_2m_sde_gpu "
    "dpmpp_3m_sde dpmpp_3m_sde_gpu ddpm lcm tcd restart ddim uni_pc uni_pc_bh2"
)
SCHEDULERS = words(
    "normal karras exponential sgm_uniform simple ddim_uniform lcm turbo align_your_steps tcd "
    "edm_playground_v2.5"
)

DEFAULT_STYLES = ["Fooocus V2", "Fooocus Enhance", "Fooocus Sharp"]
#: Collections and the names in them; those without a collection come last but one.
_STYLES = """
Fooocus: V2, Enhance, Sharp
Random: Style
Fooocus: Semi Realistic, Masterpiece, Photograph, Negative, Cinematic, Pony
SAI: 3D Model, Analog Film, Anime, Cinematic, Comic Book, Craft Clay, Digital Art, Enhance, \
Fantasy Art, Isometric, Line Art, Lowpoly, Neonpunk, Origami, Photographic, Pixel Art, Texture
MRE: Cinematic Dynamic, Spontaneous Picture, Artistic Vision, Dark Dream, Gloomy Art, Bad Dream, \
Underground, Surreal Painting, Dynamic Illustration, Undead Art, Elemental Art, Space Art, \
Ancient Illustration, Brave Art, Heroic Fantasy, Dark Cyberpunk, Lyrical Geometry, \
Sumi E Symbolic, Sumi E Detailed, Manga, Anime, Comic
Ads: Advertising, Automotive, Corporate, Fashion Editorial, Food Photography, \
Gourmet Food Photography, Luxury, Real Estate, Retail
Artstyle: Abstract, Abstract Expressionism, Art Deco, Art Nouveau, Constructivist, Cubist, \
Expressionist, Graffiti, Hyperrealism, Impressionist, Pointillism, Pop Art, Psychedelic, \
Renaissance, Steampunk, Surrealist, Typography, Watercolor
Futuristic: Biomechanical, Biomechanical Cyberpunk, Cybernetic, Cybernetic Robot, \
Cyberpunk Cityscape, Futuristic, Retro Cyberpunk, Retro Futurism, Sci Fi, Vaporwave
Game: Bubble Bobble, Cyberpunk Game, Fighting Game, Gta, Mario, Minecraft, Pokemon, Retro Arcade, \
Retro Game, Rpg Fantasy Game, Strategy Game, Streetfighter, Zelda
Misc: Architectural, Disco, Dreamscape, Dystopian, Fairy Tale, Gothic, Grunge, Horror, Kawaii, \
Lovecraftian, Macabre, Manga, Metropolis, Minimalist, Monochrome, Nautical, Space, Stained Glass, \
Techwear Fashion, Tribal, Zentangle
Papercraft: Collage, Flat Papercut, Kirigami, Paper Mache, Paper Quilling, Papercut Collage, \
Papercut Shadow Box, Stacked Papercut, Thick Layered Papercut
Photo: Alien, Film Noir, Glamour, Hdr, Iphone Photographic, Long Exposure, Neon Noir, Silhouette, \
Tilt Shift
: Cinematic Diva, Abstract Expressionism, Academia, Action Figure, Adorable 3D Character, \
Adorable Kawaii, Art Deco, Art Nouveau, Astral Aura, Avant Garde, Baroque, Bauhaus Style Poster, \
Blueprint Schematic Drawing, Caricature, Cel Shaded Art, Character Design Sheet, Classicism Art, \
Color Field Painting, Colored Pencil Art, Conceptual Art, Constructivism, Cubism, Dadaism, \
Dark Fantasy, Dark Moody Atmosphere, Dmt Art Style, Doodle Art, Double Exposure, \
Dripping Paint Splatter Art, Expressionism, Faded Polaroid Photo, Fauvism, Flat 2d Art, \
Fortnite Art Style, Futurism, Glitchcore, Glo Fi, Googie Art Style, Graffiti Art, \
Harlem Renaissance Art, High Fashion, Idyllic, Impressionism, Infographic Drawing, \
Ink Dripping Drawing, Japanese Ink Drawing, Knolling Photography, Light Cheery Atmosphere, \
Logo Design, Luxurious Elegance, Macro Photography, Mandola Art, Marker Drawing, Medievalism, \
Minimalism, Neo Baroque, Neo Byzantine, Neo Futurism, Neo Impressionism, Neo Rococo, \
Neoclassicism, Op Art, Ornate And Intricate, Pencil Sketch Drawing, Pop Art 2, Rococo, \
Silhouette Art, Simple Vector Art, Sketchup, Steampunk 2, Surrealism, Suprematism, Terragen, \
Tranquil Relaxing Atmosphere, Sticker Designs, Vibrant Rim Light, Volumetric Lighting, \
Watercolor 2, Whimsical And Playful
Mk: Chromolithography, Cross Processing Print, Dufaycolor Photograph, Herbarium, Punk Collage, \
Mosaic, Van Gogh, Coloring Book, Singer Sargent, Pollock, Basquiat, Andy Warhol, Halftone Print, \
Gond Painting, Albumen Print, Aquatint Print, Anthotype Print, Inuit Carving, Bromoil Print, \
Calotype Print, Color Sketchnote, Cibulak Porcelain, Alcohol Ink Art, One Line Art, \
Blacklight Paint, Carnival Glass, Cyanotype Print, Cross Stitching, Encaustic Paint, Embroidery, \
Gyotaku, Luminogram, Lite Brite Art, Mokume Gane
: Pebble Art
Mk: Palekh, Suminagashi, Scrimshaw, Shibori, Vitreous Enamel, Ukiyo E, Vintage Airline Poster, \
Vintage Travel Poster, Bauhaus Style, Afrofuturism, Atompunk, Constructivism, Chicano Art, \
De Stijl, Dayak Art, Fayum Portrait, Illuminated Manuscript, Kalighat Painting, \
Madhubani Painting, Pictorialism, Pichwai Painting, Patachitra Painting, Samoan Art Inspired, \
Tlingit Art, Adnate Style, Ron English Style, Shepard Fairey Style
"""


def _styles() -> list[str]:
    names = []
    for line in _STYLES.strip().splitlines():
        collection, _, rest = line.partition(":")
        names += [f"{collection} {name.strip()}".strip() for name in rest.split(",")]
    return names


STYLES = _styles()


@dataclass(frozen=True)
class Preset:
    """What a preset sets; all else becomes the page's own default.

    Attributes
    ----------
    values : mapping
        Values by the names of the page's components.
    """

    values: Mapping[str, Any] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {
    "initial": Preset(),
    "pony_v6": Preset(
        {"guidance_scale": 7.0, "styles": ["Fooocus Pony"], "aspect": aspect_ratio("896×1152")}
    ),
    "sai": Preset(
        {
            "guidance_scale": 5.0,
            "refiner_switch": 0.75,
            "styles": ["Fooocus V2", "Fooocus Cinematic"],
        }
    ),
    "realistic": Preset(
        {
            "guidance_scale": 3.0,
            "base_model": BASE_MODELS[2],
            "styles": ["Fooocus V2", "Fooocus Photograph", "Fooocus Negative"],
        }
    ),
    "lightning": Preset({"performance": "Lightning"}),
    "lcm": Preset({"performance": "Extreme Speed"}),
    "playground_v2.5": Preset(
        {"guidance_scale": 2.0, "scheduler": "edm_playground_v2.5", "styles": ["Fooocus V2"]}
    ),
    "anime": Preset(
        {
            "guidance_scale": 6.0,
            "base_model": BASE_MODELS[1],
            "styles": ["Fooocus V2", "Fooocus Semi Realistic", "Fooocus Masterpiece"],
            "aspect": aspect_ratio("896×1152"),
        }
    ),
    "default": Preset(),
}
