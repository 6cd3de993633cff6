"""How things look: tables, figures and self-contained pages."""
