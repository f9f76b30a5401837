"""The kinds of tasks, by name."""

from __future__ import annotations

from benchmarks.tasks import detection, diffusion, language, segmentation
from benchmarks.tasks.kind import Kind

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND for module in (language, segmentation, diffusion, detection)
}
