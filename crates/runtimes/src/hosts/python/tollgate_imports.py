"""Changes libraries at the moment they are imported, so that nobody pays for the rest."""

import importlib.abc
import importlib.util
import sys

PATCHES = {}


def when_imported(name, patch):
    """Calls `patch` with the module of this name: now, or after it was imported."""
    if name in sys.modules:
        patch(sys.modules[name])
    else:
        PATCHES[name] = patch
        if not any(isinstance(finder, Hook) for finder in sys.meta_path):
            sys.meta_path.insert(0, Hook())


class Hook(importlib.abc.MetaPathFinder):
    """Finds what the other finders find, and has it patched once it is loaded."""

    def __init__(self):
        self.searching = set()

    def find_spec(self, name, path=None, target=None):
        patch = PATCHES.get(name)
        if patch is None or name in self.searching:
            return None
        self.searching.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.searching.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = Patching(spec.loader, patch)
        return spec


class Patching(importlib.abc.Loader):
    """Another loader, and a patch after it. The loader may serve other modules too."""

    def __init__(self, loader, patch):
        self.loader = loader
        self.patch = patch

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        # Whoever asks the module for its loader is given its own.
        spec = module.__spec__
        if spec is not None:
            spec.loader = self.loader
            module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.patch(module)

    def __getattr__(self, name):
        return getattr(self.loader, name)
