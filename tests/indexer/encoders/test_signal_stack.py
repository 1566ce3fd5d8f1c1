"""A signal must find a stack that is there: OpenVINO's own is gone with it, in whatever thread that happens."""

from __future__ import annotations

import gc
import threading

from indexer.encoders import load_encoder, signal_stack


def test_loading_openvino_leaves_the_thread_its_own_signal_stack():
    before = signal_stack.current()
    held = [load_encoder(None, backend="openvino")]
    held[0].encode_passages(["apples are picked in autumn"])
    after = signal_stack.current()
    assert (after.address, after.flags, after.size) == (before.address, before.flags, before.size)

    def let_go() -> None:
        held.clear()
        gc.collect()

    thread = threading.Thread(target=let_go)
    thread.start()
    thread.join()
    last = signal_stack.current()
    assert (last.address, last.flags) == (before.address, before.flags)
