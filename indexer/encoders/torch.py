"""PyTorch: bfloat16 on GPUs, and on processors with the instructions; the reference elsewhere.

Several GPUs are one process each: Python's threads would take turns at launching kernels.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from indexer.encoders.export import load_modules
from indexer.encoders.model_folder import ModelFolder
from indexer.errors import ModelError

GPU_TOKEN_BUDGET = 65_536
CPU_TOKEN_BUDGET = 2048


class TorchRunner:
    """Runs the sentence-transformers modules themselves, pooling and all, with fused attention where they have it."""

    backend = "torch"
    multiple = 8

    in_flight = 1  # on a GPU two launching threads took longer than one after the other (docs/performance.md)

    def __init__(self, folder: ModelFolder, *, device: str = "cpu", bfloat16: bool = True) -> None:
        """Load the model and compute in bfloat16 where asked.

        On a processor by autocast (norms and softmax stay exact); a GPU is given the weights in bfloat16 themselves,
        which saves it a third of the time in conversions and leaves cosines above .9999.
        """
        self._modules = list(load_modules(folder, device=device))
        self._device = device
        self._cuda = device.startswith("cuda")
        self._autocasts = bfloat16 and not self._cuda
        if bfloat16 and self._cuda:
            for module in self._modules:
                module.to(torch.bfloat16)
        self.token_budget = GPU_TOKEN_BUDGET if self._cuda else CPU_TOKEN_BUDGET

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Turn ids and mask into rows."""
        with (
            torch.inference_mode(),
            torch.autocast(self._device.partition(":")[0], torch.bfloat16, enabled=self._autocasts),
        ):
            features = {"input_ids": self._moved(ids), "attention_mask": self._moved(mask)}
            for module in self._modules:
                features = module(features)
            rows: np.ndarray = features["sentence_embedding"].float().cpu().numpy()
        return rows

    def _moved(self, values: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(values)
        if not self._cuda:
            return tensor.to(self._device)
        return tensor.pin_memory().to(self._device, non_blocking=True)  # only from pinned memory a copy is no wait


class TorchProcesses:
    """A TorchRunner a device, each in a process of its own; batches go to whichever is free."""

    backend = "torch"
    multiple = 8

    def __init__(self, folder: ModelFolder, devices: Sequence[str], *, bfloat16: bool = True) -> None:
        """Start the processes and wait until each has its model. Raises ModelError when one does not start."""
        self.token_budget = GPU_TOKEN_BUDGET if devices[0].startswith("cuda") else CPU_TOKEN_BUDGET
        self.in_flight = 2 * len(devices)
        self._processes: list[_Process] = []
        self._processes += [_Process(device) for device in devices]
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        for process in self._processes:  # all load at once
            process.send((folder, process.device, bfloat16))
        for process in self._processes:
            process.receive()
            self._free.put(process)

    def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Turn ids and mask into rows, on the next free device. Raises ModelError when its process has died."""
        process = self._free.get()
        try:
            process.send((ids, mask))
            return process.receive()
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()

    def __del__(self) -> None:
        """End the processes with their owner."""
        self.close()


class _Process:
    """The parent's end of one device's process."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._ours, theirs = Pipe()
        package_root = str(Path(__file__).parents[2])
        inherited = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal is the parent's to decide
            env={**os.environ, "PYTHONPATH": package_root + (os.pathsep + inherited if inherited else "")},
        )
        theirs.close()  # so that the process's end is seen here

    def send(self, message: object) -> None:
        """Hand over a message."""
        try:
            self._ours.send(message)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> np.ndarray:
        """Wait for rows (none of them after the first message, which only says that the model is loaded)."""
        try:
            answer = self._ours.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(answer, str):
            raise ModelError(f"{self.device}: {answer}")
        rows: np.ndarray = answer
        return rows

    def close(self) -> None:
        """End the process: it ends when its pipe does."""
        self._ours.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # in the middle of a long batch that nobody wants any more
            self._process.kill()
            self._process.wait()

    def _died(self) -> ModelError:
        return ModelError(
            f"the encoding process of {self.device} ended (exit {self._process.poll()}): run the command again, "
            "or with --device cpu"
        )


def serve(connection: Connection) -> None:
    """Load the model that the first message names, then answer batches with rows until the parent is gone."""
    runner: TorchRunner | None = None
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        try:
            if runner is None:
                folder, device, bfloat16 = message
                runner = TorchRunner(folder, device=device, bfloat16=bfloat16)
                connection.send(np.empty((0, 0), np.float32))
            else:
                connection.send(runner.run(*message))
        except (ModelError, RuntimeError, IndexError) as error:  # torch raises the latter two, out of memory among them
            connection.send((str(error).strip().splitlines() or [type(error).__name__])[0][:300])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))
