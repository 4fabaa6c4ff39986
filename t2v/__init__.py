"""The Information in a Task: from Shannon's information to Task2Vec, one module a chapter.

Modules are imported by name (``from t2v import information``); importing the package alone loads nothing,
so that the chapters on finite distributions work without torch.
"""

__version__ = "0.1.0"
