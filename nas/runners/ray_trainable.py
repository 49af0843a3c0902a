"""What runs in a Tune actor: one rung of one trial a step."""

from pathlib import Path
from typing import Any

from ray.tune import Trainable

from nas.runners import calls


class RungTrainable(Trainable):
    """Carries out the job in its configuration, continued from our own checkpoint and never from one of Tune's.

    Configuration: ``job`` (TrainJob), ``train_path`` (dotted path), ``stop_file`` (exists once training is to end).
    """

    def step(self) -> dict[str, Any]:
        stop_file = Path(self.config["stop_file"])
        return {"outcome": calls.train(self.config["train_path"], self.config["job"], stop_file.exists)}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes over another trial; ``Trainable.reset`` has stored the configuration."""
        return True
