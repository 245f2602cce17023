"""What a run is asked: the facts of a task, once. Light: the flags of `--help` are made from it."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A task of the story model; K = 5 frames.

    Attributes:
        name: as the setting `task` has it.
        looks_ahead: frames 2..K are predicted, each from those before it; else every frame is told from all photos.
        reads_captions: the captions of the frames seen are read. predicts_photo: the photo is predicted too.
    """

    name: str
    looks_ahead: bool
    reads_captions: bool
    predicts_photo: bool

    def most_given(self, num_frames: int) -> int:
        """How many photos of a story may be given: the last is to be predicted, or none is."""
        return num_frames - self.looks_ahead


NEXT = Task("next", looks_ahead=True, reads_captions=True, predicts_photo=True)
TELL = Task("tell", looks_ahead=False, reads_captions=False, predicts_photo=False)
TASKS = {task.name: task for task in (NEXT, TELL)}
