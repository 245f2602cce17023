"""What the process that others are forked from has loaded, see `evaluate.processes`; to be imported there alone."""
import importlib
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt from the keyboard is for whoever started it to pass on

# what training and evaluating load themselves only when they come to it: half of a small row's time
for name in ("torch._dynamo", "torch.utils.tensorboard", "matplotlib.pyplot", "matplotlib.backends.backend_agg",
             "scipy.stats", "nltk.translate.bleu_score", "rouge_score.rouge_scorer", "evaluate.evaluation.run",
             "evaluate.table", "train.session", "train.summary"):
    importlib.import_module(name)
