"""From data frames of finished trials to tables, figures and a PDF. Knows data frames only, never the engine."""
