"""The subcommands of ``adaptsam``, one file each: ``add`` declares its options, ``run`` does it.

Heavy packages are imported inside the functions, so that ``adaptsam --help`` answers at once.
"""
