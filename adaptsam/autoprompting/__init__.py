"""AlignSAM's agents at work: what stands between :mod:`adaptsam.alignsam`, which knows single images, and a user.

In use, on the slices of a volume or the frames of a video: what an agent is shown (``slices``), what is chosen
(``settings``), agents asked about a few images (``prompting``, with ``text_maps`` for those that read words), one
agent on its way through a volume (``track``), the prompts in order (``steps``), what is trusted (``confidence``), and
going on from prompts that a person changed (``correction``). ``adaptsam.autoprompt`` puts them together.

In training, from a data set to an agent's file: ``training``, the same as a MONAI bundle describes it (``bundle``),
from volumes that somebody holds (``volumes``), the picture that a list of agents shows (``pictures``), and pictures of
what an agent did, step by step (``prompt_pictures``). ``clip_pretrain`` trains the small CLIP that comes along.
"""
