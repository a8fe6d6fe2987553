"""Pictures of blocks, schedules and measurements: each function draws what it is given, and measures nothing itself.

All return their matplotlib Axes, and are readable on light and dark backgrounds and in grey. Needs the extra "plot".
"""

from .blobs import blob_choices, blob_delays, blob_market
from .breakeven import break_even
from .chain import dependency_chain
from .graphs import conflict_network, conflict_spy
from .hotkeys import hot_keys
from .latencies import latency_distribution
from .quality import prediction_quality
from .speedups import speedup_curves, speedup_lines, speedup_surface
from .storage import storage_comparison
from .style import COLOURS
from .timelines import gantt, gantt_pair, parallelism_profile
from .waves import wave_sizes

__all__ = [
    "COLOURS",
    "blob_choices",
    "blob_delays",
    "blob_market",
    "break_even",
    "conflict_network",
    "conflict_spy",
    "dependency_chain",
    "gantt",
    "gantt_pair",
    "hot_keys",
    "latency_distribution",
    "parallelism_profile",
    "prediction_quality",
    "speedup_curves",
    "speedup_lines",
    "speedup_surface",
    "storage_comparison",
    "wave_sizes",
]
