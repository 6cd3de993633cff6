"""Who may call Perceval: one thread at a time where its own objects get mixed up."""

from __future__ import annotations

import os
import threading

#: Held while Perceval reads or writes a text, simulates, and around ``with_input``. Its overloaded methods keep the
#: object that they are called on in one place for all threads, so now and then a call reaches another thread's object,
#: in silence.
LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):  # a process is forked only between two texts, or its lock would be held for ever
    os.register_at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)
