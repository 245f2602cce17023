"""What the process that others are forked from has loaded, see `evaluate.processes`; to be imported there alone."""
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the keyboard is for whoever started it to pass on

import scipy.linalg  # noqa: E402, F401
import torch.utils.tensorboard  # noqa: E402, F401

import evaluate.evaluation.run  # noqa: E402, F401
import evaluate.table  # noqa: E402, F401
import train.session  # noqa: E402, F401
import train.summary  # noqa: E402, F401
