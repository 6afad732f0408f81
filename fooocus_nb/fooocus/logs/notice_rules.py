"""Rules for what is no failure but worth knowing: a silent degradation, mostly.

Fooocus, its versions and its forks say most of it in words of their own, so each rule has all.
"""

from __future__ import annotations

import re

from fooocus_nb.fooocus.logs._rule_builders import NoticeRule

__all__ = ["DROPPED", "NOTICES"]

#: What Python's logging, and some forks, put before a line.
_LEVEL = r"(?:(?:ERROR|WARNING)(?::\w+)?: ?|\[(?:ERROR|WARNING|Warning|Error)\] )?"

#: Told by what is not said after a line, so it is none of the table.
DROPPED = NoticeRule(
    re.compile(r"^Request to load LoRAs "),
    "Fooocus has left out a LoRA without a word: {name}. It was made for another kind of model.",
    "Take one that was made for SDXL, as the checkpoint is.",
    "Request to load LoRAs [('sd15.safetensors', 0.5)] for model [sdxl.safetensors].",
)

NOTICES = (
    NoticeRule(
        re.compile(r"^(?:Failed to load config file|Load path config failed)"),
        "config.txt does not parse, so it is ignored.",
        "Mend the JSON in the checkout's config.txt: fooocus-nb doctor says where it breaks.",
        'Failed to load config file "config.txt" . The reason is: Expecting value',
    ),
    NoticeRule(
        re.compile(r"^Processing deprecated config failed"),
        "user_path_config.txt, of an early version, cannot be read, so it is ignored.",
        "Move its folders into config.txt, and remove it.",
        "Processing deprecated config failed",
    ),
    NoticeRule(
        re.compile(r"^Failed to load config key: (?P<name>.*?) is invalid"),
        "A setting in config.txt is invalid, so Fooocus uses its own: {name}.",
        "Correct config.txt: fooocus-nb doctor lists what is wrong with it.",
        'Failed to load config key: {"default_steps": "two"} is invalid; will use -1 instead.',
    ),
    NoticeRule(
        re.compile(
            r"^Directory (?P<name>.+?) could not be created|^Could not create temp path "
            r"(?P<path>.+?)\. "
        ),
        "A folder could not be made, so Fooocus uses its own: {name}{path}.",
        "Give this user the right to make it, or name another one in config.txt.",
        "Directory /mnt/outputs could not be created, reason: [Errno 13] Permission denied",
    ),
    NoticeRule(
        re.compile(r"^load_auth_data, e: (?P<why>.+)"),
        "auth.json cannot be read, so the engine's page asks nobody for a login: {why}.",
        "Mend the JSON in the checkout's auth.json.",
        "load_auth_data, e: Expecting value: line 1 column 1 (char 0)",
    ),
    NoticeRule(
        re.compile(r"^Version mismatch for (?P<name>[^:]+)"),
        "launch.py is about to install a pinned version of {name} into the engine's Python.",
        "This is normal in Fooocus's own environment.",
        "Version mismatch for gradio: Installed version 3.50.2 does not meet requirement 3.41.2",
    ),
    NoticeRule(
        re.compile(r"^You do not have \[(?P<wanted>.+?)\] but you have \[(?P<other>.+?)\]"),
        "The model {wanted} is not there, so Fooocus takes {other} in its place.",
        "Start it with args=['--always-download-new-model'], or put the model there by hand.",
        "You do not have [new.safetensors] but you have [old.safetensors].",
    ),
    NoticeRule(
        re.compile(
            r"^.*\bmoved?\b.* to .*\.corrupted\b|^Failed loading model! (?P<name>.+)"
            r"|^\[MetaParser\].*model is not available in the local: (?P<other>.+?)\.?$"
        ),
        "A model file could not be loaded. Fooocus renames such a file to *.corrupted. "
        "{name}{other}",
        "If the file is whole, fooocus-nb doctor --restore takes the name back; else download it "
        "anew.",
        "Fooocus has tried to move the corrupted file to model.safetensors.corrupted",
    ),
    NoticeRule(
        re.compile(
            rf"^{_LEVEL}(?:[Ll]o[Rr][Aa] (?:file )?not found: (?P<name>.+)"
            r"|Wrong lora model_name input: (?P<wrong>.*?), using|Could not find file: "
            r"(?P<file>.+))"
        ),
        "The LoRA {name}{wrong}{file} was not found and left out.",
        "See engine.parameters for the LoRAs that the engine knows.",
        "Lora file not found: gone.safetensors",
    ),
    NoticeRule(
        re.compile(
            r"^Loaded LoRA \[(?P<name>[^\]]+)\].*\bunmatched keys"
            r"|^(?:UNet|CLIP) LoRA key skipped: +(?P<key>.+)"
            r"|^LoRA \[(?P<other>.+?)\].*(?:mismatch|no(?:t| key).{0,20}match)"
            rf"|^{_LEVEL}(?:lora key not loaded\b|WARNING SHAPE MISMATCH\b|SHAPE MISMATCH\b"
            r"|patch type not recognized\b"
            r"|(?:ERROR )?(?:lora )?(?P<part>[\w.]+\.\w+) shape '.*' is invalid for input)"
        ),
        "A LoRA does not fit the checkpoint, so it has no effect, or only a part of it: "
        "{name}{other}{key}{part}",
        "Take one that was made for SDXL, as the checkpoint is.",
        "Loaded LoRA [x.safetensors] for model [y.safetensors] with unmatched keys ['a', 'b']",
    ),
    NoticeRule(
        re.compile(rf"^{_LEVEL}ERROR (?P<key>\S+\.\S+) .*(?:memory|allocat|error)"),
        "A part of a LoRA or of the model could not be applied: {key}. The images lack it.",
        "Mostly the memory was short: end other programs, or take fewer LoRAs.",
        "ERROR diffusion_model.out.weight MPS backend out of memory (MPS allocated: 8.76 GB)",
    ),
    NoticeRule(
        re.compile(
            r"^Load(?:ing)? (?:preset|default preset|preset "
            r"config)[\s:\[\"']*(?P<name>.*?)[\]\"'\s]*"
            r"(?:failed|not found)\b"
            rf"|^{_LEVEL}(?:Failed to load|Failed using) preset[\s:\[\"']*(?P<other>.*?)[\]\"'\s]*$"
            r"|^Preset (?P<gone>.+?) (?:is )?not found\b|^No presets found"
        ),
        "A preset could not be loaded, so the settings are those without it. {name}{other}{gone}",
        "Its file belongs into the checkout's folder presets, under the name that was given, and "
        "has to be sound JSON.",
        "Load preset [/opt/Fooocus/presets/mine.json] failed",
    ),
    NoticeRule(
        re.compile(r"^(?:Failed to load style file|\[?Styles?\]?:? .*not found:?) (?P<name>.+)"),
        "A file of styles could not be loaded, so its styles are missing: {name}",
        "Mend its JSON in the checkout's folder sdxl_styles.",
        "Failed to load style file sdxl_styles_mine.json",
    ),
    NoticeRule(
        re.compile(
            rf"^(?:\[Wildcards\] )?{_LEVEL}(?:Warning: |Error: )(?:could not (?:open|find) )?"
            r"(?:wildcard )?(?:file )?(?P<name>[^\s,]+?)(?:\.txt)?"
            r"(?:,? (?:is |was )?(?:missing|not found|empty|using as)\b| in .+ or its sub"
            r"|,? (?:does not|doesn't) exist\b)",
            re.IGNORECASE,
        ),
        "The wildcard {name} has no file, so its name stands in the prompt as a word.",
        "Put {name}.txt, with a choice on each line, into the checkout's folder wildcards.",
        '[Wildcards] Warning: seasons.txt missing or empty. Using "seasons" as a normal word.',
        quoted=True,
    ),
    NoticeRule(
        re.compile(r"^\[Wildcards\] (?:BFS )?stack overflow\b"),
        "The wildcards name one another too deeply, so some of them stay in the prompt.",
        "See that no wildcard file names itself, or one that names it.",
        "[Wildcards] BFS stack overflow. Current text: a __animal__",
        quoted=True,
    ),
    NoticeRule(
        re.compile(r"^(?:\[Upscale\] )?Image is too large\. Directly returned"),
        "The image was too large to be drawn anew, so it was only enlarged.",
        "Give a smaller image, or upscale it by less.",
        "Image is too large. Directly returned the SR image.",
    ),
    NoticeRule(
        # Not "Skipping, preconditions aren't met", which follows each generation without one.
        re.compile(r"^\[Enhance\] No \"?(?P<what>.*?)\"? (?:detected|found), skipping"),
        "A step of the enhancement was left out: there was nothing to enhance. {what}",
        "Say in other words what it is to look for (detect=), or lower its thresholds.",
        '[Enhance] No "hand" detected, skipping',
    ),
    NoticeRule(
        re.compile(r"^(?:No face detected|ERROR: Found no faces in input)"),
        "No face was found in an image that was given for its face, so all of it is used.",
        "Give an image with one face that is seen whole and from the front.",
        "No face detected",
    ),
    NoticeRule(
        re.compile(r"^Refiner disabled (?P<why>.+?)\.?$"),
        "The refiner was left out: {why}.",
        "Choose another performance, or a refiner that is not the base model.",
        "Refiner disabled because base model and refiner are same.",
    ),
    NoticeRule(
        re.compile(
            r"^.*RuntimeWarning: (?:invalid value|overflow) encountered in"
            r"|^(?!\[\w+\] ).*\b(?:all NaNs|NaNs? (?:was|were|detected|in)\b|NansException)"
        ),
        "Some numbers of an image were none (NaN): it is black, or has black parts.",
        "Start the engine with args=['--vae-in-fp32'], or with ['--all-in-fp32'] if that does not "
        "help; a VAE of another make helps, too.",
        "/opt/Fooocus/modules/core.py:237: RuntimeWarning: invalid value encountered in cast",
    ),
    NoticeRule(
        re.compile(r"^.*(?:kIOGPUCommandBuffer|[Cc]ommand buffer .*(?:error|abort))"),
        "Apple's GPU failed at a part of the work, so an image may be black or wrong.",
        "Make smaller images and end other programs: mostly its memory was short.",
        "Error: command buffer exited with error status. "
        "(kIOGPUCommandBufferCallbackErrorOutOfMemory)",
    ),
    NoticeRule(
        re.compile(
            r"^.*(?:CUDA initialization: |is not compatible with the current PyTorch installation"
            r"|CUDA driver.*(?:too old|version))"
        ),
        "PyTorch cannot use the GPU as it should.",
        "See fooocus-nb doctor: the driver, or this PyTorch, does not fit the GPU.",
        "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old",
    ),
    NoticeRule(
        re.compile(
            r"^.*onnxruntime.*(?:Failed to (?:load|create) .*(?:providers?_cuda"
            r"|CUDAExecutionProvider)"
            r"|not in available provider)"
        ),
        "onnxruntime does without the GPU, so masks and the like take longer.",
        "That does no harm. To use the GPU, install an onnxruntime-gpu that fits the CUDA there.",
        "[E:onnxruntime:Default, provider_bridge_ort.cc:1480] Failed to load library "
        "libonnxruntime_providers_cuda.so",
    ),
    NoticeRule(
        re.compile(r"^CMD Failed (?P<name>[^:]+)"),
        "launch.py could not install {name} into the engine's Python, and went on without it.",
        "pip's words above that line say why; fooocus-nb doctor says what is missing.",
        'CMD Failed requirements: install -r "requirements_versions.txt"',
    ),
    NoticeRule(re.compile(r"^User skipped\b"), "An image was skipped.", "", "User skipped"),
)
