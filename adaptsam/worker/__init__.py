"""AdaptSAM in a process of its own: a window that never freezes, a crash that takes nothing along.

``python -m adaptsam.worker FOLDER`` reads requests and writes events, one JSON object a line, on stdin and stdout.
Images travel as .npy files in FOLDER, masks within the lines (:mod:`adaptsam.worker.wire_format`). Model,
embeddings and the last runs stay alive between requests (:mod:`adaptsam.worker.worker_session`), so that a correction
only decodes.

:class:`~adaptsam.worker.client.WorkerClient` is the other end. It needs the standard library and NumPy alone, never
blocks, and gives a sentence when the process is gone. On another machine, with ``-`` for FOLDER, images travel in the
lines, so that whatever carries a process's stdin and stdout there (``ssh HOST python -m adaptsam.worker -``) is enough.
"""
