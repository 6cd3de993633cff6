"""Reports: tables, figures and a self-contained page."""
