"""``report.html``: one self-contained page of a run."""

from __future__ import annotations

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330 }
h1 { font-size: 1.5rem; overflow-wrap: anywhere } table { border-collapse: collapse; width: 100% }
td { padding: .35rem .6rem; border-bottom: 1px solid #dde2ea; vertical-align: top } td:first-child { color: #5a6575 }
svg { max-width: 100%; height: auto } pre { background: #f4f6f9; padding: 1rem; overflow: auto; font-size: 13px }
"""
